import base64
import json

import numpy as np
import pytest

from hslm_tf.data import DataError
from hslm_tf.data.formats.tsv import FIELDS, LXMERT_FIELDS
from tests.data import field_files as field
from tests.data.field_files import assert_holds, lxmert_fields, opened

WIDTH = 5
NUM_BOXES = (3, 1, 2)


def encode(values, dtype=np.float32):
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()


def image_fields(image):
    """The six fields of an image, as the release of bottom-up attention writes them."""
    rng = np.random.default_rng(image)
    count = NUM_BOXES[image]
    boxes = np.sort(rng.uniform(0, 100, size=(count, 4)), axis=1)
    features = rng.normal(size=(count, WIDTH))
    return [str(100 + image), "200", "400", str(count), encode(boxes), encode(features)]


def write(folder, lines=None, ids=None, captions=("a", "b", "c"), end="\n"):
    lines = [image_fields(image) for image in range(3)] if lines is None else lines
    text = end.join("\t".join(line) for line in lines)
    (folder / "train.tsv").write_bytes(text.encode())
    (folder / "train_caps.txt").write_text("\n".join(captions))
    if ids is not None:
        (folder / "train_ids.txt").write_text("\n".join(ids))
    return folder


def decoded(image, field):
    values = base64.b64decode(image_fields(image)[field])
    return np.frombuffer(values, np.float32).reshape(NUM_BOXES[image], -1)


def test_decodes_and_pads(tmp_path):
    dataset = opened(write(tmp_path), "train")
    assert dataset.image_ids == ["100", "101", "102"]
    np.testing.assert_array_equal(dataset.num_regions, NUM_BOXES)
    assert (dataset.max_regions, dataset.region_dim) == (3, WIDTH)
    order = np.array([2, 0, 1, 0])
    regions, mask = dataset.read_images(order)
    boxes = dataset.read_boxes(order)
    for row, image in enumerate(order):
        count = NUM_BOXES[image]
        np.testing.assert_array_equal(mask[row], np.arange(3) < count)
        np.testing.assert_array_equal(regions[row, :count], decoded(image, 5))
        assert not regions[row, count:].any() and not boxes[row, count:].any()
        size = np.array([200, 400, 200, 400], np.float32)
        np.testing.assert_array_equal(boxes[row, :count], decoded(image, 4) / size)


def changed(line, field, value):
    lines = [image_fields(image) for image in range(3)]
    lines[line][field] = value
    return lines


def as_csv(fields):
    return ['"' + field.replace('"', '""') + '"' for field in fields]


def as_bytes(fields):
    return [*fields[:4], *(f"b'{field}'" for field in fields[4:])]


FOREIGN = {
    "header": lambda lines: [FIELDS, *lines],
    "a header in every part": lambda lines: [FIELDS, *lines[:2], FIELDS, *lines[2:]],
    "byte order mark": lambda lines: [["\ufeff" + lines[0][0], *lines[0][1:]], *lines[1:]],
    "mark and header": lambda lines: [["\ufeff" + FIELDS[0], *FIELDS[1:]], *lines],
    "quoted": lambda lines: [as_csv(fields) for fields in [FIELDS, *lines]],
    "quoted text": lambda lines: [[*line[:4], *as_csv(line[4:])] for line in lines],
    "bytes": lambda lines: [as_bytes(line) for line in lines],
    "quoted bytes": lambda lines: [as_csv(as_bytes(line)) for line in lines],
    "bytes in ids": lambda lines: [[f"b'{line[0]}'", *as_bytes(line)[1:]] for line in lines],
}


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", FOREIGN)
def test_other_writers(tmp_path, form, end, boxes):
    lines = [image_fields(image) for image in range(3)]
    if not boxes:
        lines = [[*line[:4], "", line[5]] for line in lines]
    dataset = opened(write(tmp_path, FOREIGN[form](lines), end=end), "train")
    assert dataset.image_ids == ["100", "101", "102"]
    regions, mask = dataset.read_images(np.arange(3))
    for image in range(3):
        np.testing.assert_array_equal(regions[image, mask[image]], decoded(image, 5))
    size = np.array([200, 400, 200, 400], np.float32)
    if boxes:
        found = dataset.read_boxes(np.array([2]))[0, :2]
        np.testing.assert_array_equal(found, decoded(2, 4) / size)
    else:
        assert dataset.boxes is None


def test_quotation_marks_of_an_id(tmp_path):
    lines = changed(1, 0, 'the "best"')
    lines[0][0], lines[2][0] = '"first"', "b'last'"
    ids = ['"first"', 'the "best"', "b'last'"]
    assert opened(write(tmp_path, lines), "train").image_ids == ids
    lines = [as_csv(line) for line in lines]
    assert opened(write(tmp_path, lines), "train").image_ids == ids


BROKEN = {
    "five fields": (
        [image_fields(0), image_fields(1)[:5], image_fields(2)],
        r"train.tsv, line 2: 5 fields, expected 6: image_id",
    ),
    "empty line": ([image_fields(0), [""], image_fields(2)], "line 2: 1 fields, expected 6"),
    "truncated base64": (
        changed(2, 5, image_fields(2)[5][:-3]),
        "line 3: features begins with 2PqPPl",
    ),
    "shorter features": (
        changed(1, 5, encode(np.zeros(WIDTH - 1))),
        r"line 2 has 4 numbers a region with boxes, but .*train.tsv, line 1 5 numbers",
    ),
    "num_boxes of another image": (changed(2, 3, "3"), "line 3: features hold 40 bytes"),
    "fewer boxes": (changed(0, 4, encode(np.zeros((2, 4)))), "line 1: boxes hold 32 bytes, which"),
    **{
        f"{field} {value}": (changed(1, field, value), f"line 2: {says.format(value)}, expected")
        for value in ("0", "-3", "inf", "nan", "many", "")
        for field, says in ((3, "num_boxes is {}"), (1, "the image is {} x 400"))
    },
    "no id": (changed(1, 0, ""), "line 2: image_id is '', expected one line"),
    "no lines": ([], "train.tsv has no line of an image"),
    "the header alone": ([FIELDS], "train.tsv has no line of an image"),
    "columns that lack one": (
        [FIELDS[1:], image_fields(0)[1:]],
        r"line 1: the header names other columns, image_w, .*; expected 6: image_id, .* or 10: img",
    ),
    "a column twice": (
        [[*FIELDS, "boxes"], [*image_fields(0), ""]],
        r"line 1: the header names other columns, image_id, .*boxes; expected 6",
    ),
    "commas": ([[",".join(image_fields(0))]], "line 1: 1 fields, expected 6: .* with tabs between"),
    "base64 in lines of 76": (
        [[*image_fields(0)[:4], '"AAAA\nAAAA"', image_fields(0)[5]]],
        "line 1: 5 fields, expected 6: .*; the last one opens a quotation mark and does not close",
    ),
    "half a quotation": (changed(1, 5, '"' + image_fields(1)[5]), 'line 2: features begins with "'),
    "bytes in one field": (
        changed(1, 4, "b'AAAA'"),
        "line 2: boxes begins with b'AAAA', and is not base64",
    ),
    "another sign": (changed(1, 5, "AA!A"), "line 2: features begins with AA!A, and is not base64"),
    "NaN": (changed(2, 5, encode([np.nan] * 10)), "line 3: features hold NaN"),
    "numbers as text": (
        changed(1, 5, "[0.25, 0.5]"),
        r"line 2: features begins with \[0.25, 0.5\]",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lines(tmp_path, case):
    lines, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        opened(write(tmp_path, lines), "train")


VINVL_BOXES = np.sort(np.random.default_rng(0).uniform(size=(3, 2, 2)), axis=1).reshape(3, 4)
VINVL = np.random.default_rng(1).normal(size=(3, 2054)).astype(np.float32)
VINVL[:, 2048:2052] = VINVL_BOXES
OBJECTS = {
    "image_w": 200,
    "image_h": 400,
    "objects": [
        {"rect": (box * [200, 400, 200, 400]).tolist(), "class": "dog", "feature": encode(row)}
        for box, row in zip(VINVL_BOXES, VINVL[:, :2048], strict=True)
    ],
}
WRITTEN = {
    "VinVL": ["7", json.dumps({"num_boxes": 3, "features": encode(VINVL)})],
    "VinVL with a count": ["7", "3", json.dumps({"num_boxes": 3, "features": encode(VINVL)})],
    "Oscar": ["7", "3", encode(VINVL)],
    "VinVL's predictions": ["7", json.dumps(OBJECTS)],
}


@pytest.mark.parametrize("form", WRITTEN)
def test_vinvl_and_oscar(tmp_path, form):
    (tmp_path / "train.tsv").write_text("\t".join(WRITTEN[form]) + "\n")
    dataset = opened(tmp_path / "train.tsv", "all", images_alone=True)
    width = 2048 if form == "VinVL's predictions" else 2054
    assert dataset.image_ids == ["7"] and dataset.region_dim == width
    rows = np.array([0])
    np.testing.assert_array_equal(dataset.read_images(rows)[0][0], VINVL[:, :width])
    np.testing.assert_allclose(dataset.read_boxes(rows)[0], VINVL_BOXES, atol=1e-6)


def objects(*features, rect=(0, 0, 1, 1), **size):
    each = [{"feature": encode(values), "rect": rect} for values in features]
    return {"objects": each, "image_w": 2, "image_h": 2} | size


ONE = {"num_boxes": 1, "features": encode([1])}
BROKEN_JSON = {
    "no JSON": ("AAAA", "line 1 is not JSON"),
    "half of it": ('{"num_boxes": 3', "line 1 is not JSON"),
    "no count": ('{"features": "AAAA"}', "line 1: 'num_boxes' is missing"),
    "an endless count": ('{"num_boxes": 1e999}', "line 1: num_boxes is inf, expected a whole"),
    "half a box more": (ONE | {"num_boxes": 2.7}, "line 1: num_boxes is 2.7, expected a whole"),
    "a flag for a number": (ONE | {"num_boxes": True}, "line 1: num_boxes is True"),
    "no features": ({"num_boxes": 1}, "line 1: 'features' is missing"),
    "numbers": (ONE | {"features": [0.5]}, r"line 1: features begins with \[0.5\], an"),
    "no objects": ({"objects": []}, "line 1: objects is \\[\\], expected a list"),
    "an object without a feature": ({"objects": [{"rect": []}]}, "line 1: 'feature' is missing"),
    "unequal features": (objects([1, 2, 3], [4, 5, 6, 7]), "line 1: .* differ in length"),
    "a box of no numbers": (objects([1], rect=[]), "line 1: rect of the objects is not four"),
    "an endless box": (objects([1], rect=[0, 0, 1, 1e999]), "line 1: rect of the objects is not"),
    "an endless image": (ONE | {"image_w": 1e300, "image_h": 2}, "line 1: the image is 1e.300 x 2"),
}


@pytest.mark.parametrize("case", BROKEN_JSON)
def test_broken_json(tmp_path, case):
    content, message = BROKEN_JSON[case]
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "train.tsv").write_text(f"7\t{text}\n")
    with pytest.raises(DataError, match=f"train.tsv, {message}"):
        opened(tmp_path / "train.tsv", "all", images_alone=True)


def test_two_counts_that_differ(tmp_path):
    content = json.dumps({"num_boxes": 2, "features": encode([1, 2])})
    (tmp_path / "a.tsv").write_text(f"7\t1\t{content}\n")
    with pytest.raises(DataError, match="a.tsv, line 1: num_boxes is 2 in the JSON and 1 beside"):
        opened(tmp_path / "a.tsv", "all", images_alone=True)


def test_ids_and_captions_must_fit(tmp_path):
    with pytest.raises(DataError, match=r"train_ids.txt, line 2: .*train.tsv has no image '7'"):
        opened(write(tmp_path, ids=["100", "7"], captions="abcd"), "train")
    with pytest.raises(DataError, match=r"train_ids.txt, line 3: the id '100' is taken already"):
        opened(write(tmp_path, ids=["100", "101", "100"], captions="abcdef"), "train")
    with pytest.raises(DataError, match=r"train_caps.txt has 3 captions and .*_ids.txt 2 ids"):
        opened(write(tmp_path, ids=["100", "101"]), "train")
    with pytest.raises(DataError, match="train_ids.txt has no ids"):
        opened(write(tmp_path, ids=[]), "train")
    (tmp_path / "train_ids.txt").unlink()
    with pytest.raises(DataError, match=r"train_caps.txt has 4 captions and .*train.tsv 3 images"):
        opened(write(tmp_path, captions="abcd"), "train")
    (tmp_path / "train_caps.txt").unlink()
    with pytest.raises(DataError, match="holds no captions of a split 'train', but train.tsv"):
        opened(tmp_path, "train")


def write_lines(path, lines):
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


FORMS = {
    "no header": lambda lines: lines,
    "header": lambda lines: [LXMERT_FIELDS, *lines],
    "width first": lambda lines: [
        [*LXMERT_FIELDS[:1], "img_w", "img_h", *LXMERT_FIELDS[3:]],
        *([line[0], line[2], line[1], *line[3:]] for line in lines),
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_lxmert(tmp_path, form):
    path = write_lines(tmp_path / "a.tsv", FORMS[form]([lxmert_fields(i) for i in range(4)]))
    dataset = opened(path, "all", images_alone=True)
    assert dataset.image_ids == list(field.STEMS)
    assert_holds(dataset, range(4))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([lxmert_fields(0), lxmert_fields(1)[:9]], "line 2: 9 fields, expected 10: image_id, ima"),
        ([lxmert_fields(0)[:9]], "line 1: 9 fields, expected 6: image_id, .* or 10: img_id, img_h"),
        ([LXMERT_FIELDS[:-1], lxmert_fields(0)[:-1]], "line 1: the header names other columns, im"),
    ],
)
def test_broken_lines_of_lxmert(tmp_path, lines, message):
    path = write_lines(tmp_path / "a.tsv", lines)
    with pytest.raises(DataError, match=f"a.tsv.*{message}"):
        opened(path, "all", images_alone=True)
