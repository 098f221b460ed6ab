"""The captions that MS-COCO comes with."""

import pytest

from hslm_tf.data import DataError
from hslm_tf.data.convert import open_source
from hslm_tf.data.formats.captions import find_captions
from tests.data import field_files as field
from tests.data.field_files import CAPTIONS, COCO_IDS, assert_holds, opened


def test_cocos_own_captions(tmp_path):
    path = field.write_coco(tmp_path)
    field.write_bottom_up(tmp_path / "trainval.tsv")
    for source in (path, tmp_path):
        dataset = opened(source, "all")
        assert_holds(dataset, range(4))
        assert dataset.captions == [text for texts in CAPTIONS for text in texts[:5]]
    assert opened(path, "all", captions_per_image=0).captions == sum(map(list, CAPTIONS), [])
    assert list(open_source(path).splits) == ["all"]


BROKEN_COCO = {
    "one caption": (
        {"annotations": {"image_id": 9, "caption": "a"}},
        'has no list "annotations" with an annotation in it',
    ),
    "images alone": ({"annotations": []}, "image 0: split is missing"),
    "another image": (
        {"annotations": [{"image_id": 3, "caption": "a"}]},
        "annotation 0: no image has the id 3",
    ),
    "an id twice": (
        {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]},
        "image 1: the id 1 is taken already, by a",
    ),
    "a name twice": (
        {"images": [{"id": i, "file_name": "a"} for i in COCO_IDS]},
        "image 1: the name 'a' is taken already, see image 0",
    ),
    "no name": ({"images": [{"id": 1}]}, "image 0: file_name is missing"),
    "an id of text": ({"images": [{"id": "1"}]}, "image 0: id is '1', expected an integer"),
}


@pytest.mark.parametrize("case", BROKEN_COCO)
def test_broken_files_of_coco(tmp_path, case):
    changed, message = BROKEN_COCO[case]
    with pytest.raises(DataError, match=message):
        find_captions(field.write_coco(tmp_path, **changed))
