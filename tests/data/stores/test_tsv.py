import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.tsv_lines import LXMERT_FIELDS, read_columns
from tests.data import field_files as field
from tests.data.field_files import assert_holds, lxmert_fields


def write(path, lines, end="\n"):
    path.write_bytes("".join("\t".join(line) + end for line in lines).encode())
    return path


FORMS = {
    "no header": lambda lines: lines,
    "header": lambda lines: [LXMERT_FIELDS, *lines],
    "a header in every part": lambda lines: [LXMERT_FIELDS, *lines[:2], LXMERT_FIELDS, *lines[2:]],
    "width first": lambda lines: [
        [*LXMERT_FIELDS[:1], "img_w", "img_h", *LXMERT_FIELDS[3:]],
        *([line[0], line[2], line[1], *line[3:]] for line in lines),
    ],
    "mark": lambda lines: [["\ufeff" + lines[0][0], *lines[0][1:]], *lines[1:]],
    "bytes": lambda lines: [
        [
            f"b'{value}'" if place in (3, 4, 5, 6, 8, 9) else value
            for place, value in enumerate(line)
        ]
        for line in lines
    ],
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", FORMS)
def test_lxmert(tmp_path, form, end):
    path = write(tmp_path / "a.tsv", FORMS[form]([lxmert_fields(i) for i in range(4)]), end)
    dataset = load_dataset(path, "all", captions_optional=True)
    assert dataset.image_ids == list(field.STEMS)
    assert_holds(dataset, range(4))
    assert read_columns(path).written_by == ("another tool" if form == "width first" else "LXMERT")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([lxmert_fields(0), lxmert_fields(1)[:9]], "line 2: 9 fields, expected 10: image_id, ima"),
        ([lxmert_fields(0)[:9]], "line 1: 9 fields, expected 6: image_id, .* or 10: img_id, img_h"),
        (
            [lxmert_fields(0), [*lxmert_fields(1)[:7], "9", *lxmert_fields(1)[8:]]],
            "line 2: features hold 4800 bytes, which do not fit num_boxes = 9 regions of 120",
        ),
        ([LXMERT_FIELDS], "has no line of an image"),
        ([LXMERT_FIELDS[:-1], lxmert_fields(0)[:-1]], "line 1: the header names other columns, im"),
    ],
)
def test_broken_lines(tmp_path, lines, message):
    path = write(tmp_path / "a.tsv", lines)
    with pytest.raises(DataError, match=f"a.tsv.*{message}"):
        load_dataset(path, "all", captions_optional=True)


def test_a_file_that_changes_after_it_was_opened(tmp_path):
    path = field.write_lxmert(tmp_path / "a.tsv")
    dataset = load_dataset(path, "all", captions_optional=True)
    field.write_lxmert(path, images=[1])
    with pytest.raises(DataError, match="a.tsv, line 3 is not what it was when the file was opene"):
        dataset.read_images(np.array([2]))
