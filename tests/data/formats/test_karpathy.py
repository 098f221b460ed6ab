import json

import numpy as np
import pytest

from hslm_tf.data import DataError
from hslm_tf.data.convert import open_source
from hslm_tf.data.formats.karpathy import is_karpathy, read_karpathy
from tests.data import field_files as field
from tests.data.field_files import CAPTIONS, NAMES, OURS, assert_holds, opened


def entry(name, split="train", captions=("A dog .", "A cat ."), **more):
    """An image as Karpathy's files write it."""
    sentences = [
        {"tokens": text.lower().split(), "raw": text, "imgid": 0, "sentid": row}
        for row, text in enumerate(captions)
    ]
    return {
        "sentids": list(range(len(captions))),
        "imgid": 0,
        "sentences": sentences,
        "split": split,
        "filename": name,
    } | more


def write(folder, images, dataset="own", **more):
    path = folder / f"dataset_{dataset}.json"
    path.write_text(json.dumps({"images": images, "dataset": dataset} | more), encoding="utf-8")
    return path


def test_reads_names_splits_captions_and_ids(tmp_path):
    images = [
        entry("a.jpg"),
        entry("b.jpg", "val", ["Un café\n à Paris .", "b"], filepath="val2014", cocoid=9),
        entry("c.jpg", "test"),
        entry("d.jpg", "restval"),
    ]
    path = write(tmp_path, images)
    assert is_karpathy(path)
    file = read_karpathy(path)
    read = file.images
    assert [image.file_name for image in read] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [image.split for image in read] == ["train", "dev", "test", "restval"]
    assert (read[1].folder, read[1].coco_id) == ("val2014", 9)
    assert read[1].captions == ("Un café à Paris .", "b")
    assert (read[0].folder, read[0].coco_id) == ("", None)
    assert file.splits == ["dev", "restval", "test", "train"]
    assert [image.file_name for image in read_karpathy(path).split("dev")] == ["b.jpg"]
    both = read_karpathy(path).split("train", restval=True)
    assert [image.file_name for image in both] == ["a.jpg", "d.jpg"]
    with pytest.raises(DataError, match="no image of the split 'eval'; it has dev, restval, test"):
        read_karpathy(path).split("eval")


OFFICIAL = {
    ("flickr8k", "train"): [6000],
    ("flickr8k", "val"): [1000],
    ("flickr30k", "train"): [29000, 29783],
    ("flickr30k", "val"): [1000, 1014],
    ("flickr30k", "test"): [1000],
    ("coco", "train"): [82783],
    ("coco", "val"): [5000],
}


@pytest.mark.parametrize(("collection", "split"), OFFICIAL)
def test_official_sizes(tmp_path, caplog, collection, split):
    ours = {"val": "dev"}.get(split, split)
    for size in OFFICIAL[collection, split]:
        images = [entry(f"{row}.jpg", split, ()) for row in range(size)]
        path = write(tmp_path, images, collection)
        assert len(read_karpathy(path).split(ours)) == size
    assert not caplog.records
    read_karpathy(write(tmp_path, images[:-1], collection)).split(ours)
    assert f"{size - 1:,} images in {ours}, {collection} has" in caplog.text


def test_size_with_restval(tmp_path, caplog):
    images = [entry("a.jpg"), entry("b.jpg", "restval")]
    path = write(tmp_path, images, "coco")
    read_karpathy(path).split("train", restval=True)
    assert "2 images in train and restval, coco has 113,287: results" in caplog.text
    with pytest.raises(DataError, match="no image of the split 'restval'; it has train"):
        read_karpathy(write(tmp_path, images[:1], "coco")).split("train", restval=True)


def test_five_captions_are_the_convention_of_coco_alone(tmp_path):
    assert read_karpathy(write(tmp_path, [entry("a.jpg")], "coco")).captions_kept == 5
    assert read_karpathy(write(tmp_path, [entry("a.jpg")], "flickr30k")).captions_kept is None


def without(key):
    image = entry("a.jpg")
    del image[key]
    return [image]


BROKEN = {
    "no images": ({}, 'has no list "images".*; it holds other'),
    "images of another kind": ({"images": {"a": 1}}, 'has no list "images"'),
    "none": ({"images": []}, 'has no list "images"'),
    "a number": ({"images": [3]}, "image 0 is '3', expected an object"),
    "no name": ({"images": without("filename")}, "image 0: filename is missing, expected some"),
    "no split": ({"images": without("split")}, "image 0: split is missing"),
    "a name twice": (
        {"images": [entry("a.jpg"), entry("b.jpg"), entry("a.jpg", "val")]},
        "image 2: the name 'a.jpg' is taken already, see image 0",
    ),
    "empty caption": (
        {"images": [entry("a.jpg", captions=["a", " \n"])]},
        r"image 0, sentence 1: raw is ' \\n', expected some text",
    ),
    "a caption alone": (
        {"images": [entry("a.jpg") | {"sentences": ["a dog"]}]},
        "image 0, sentence 0 is 'a dog', expected an object",
    ),
    "sentences of another kind": (
        {"images": [entry("a.jpg") | {"sentences": 3}]},
        "image 0: sentences is '3', expected a list",
    ),
    "a cocoid of another kind": (
        {"images": [entry("a.jpg", cocoid="9")]},
        "image 0: cocoid is '9', expected an integer",
    ),
    "half a character": (
        {"images": [entry("a.jpg", captions=["\ud800"])]},
        "image 0, sentence 0: raw is not valid Unicode",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(tmp_path, case):
    content, message = BROKEN[case]
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"other": 1} | content))
    with pytest.raises(DataError, match=message):
        read_karpathy(path)


def test_another_encoding(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"images": "\xff"}')
    with pytest.raises(DataError, match="a.json is not JSON: 'utf-8' codec"):
        read_karpathy(tmp_path / "a.json")


def test_is_karpathy(tmp_path):
    (tmp_path / "boxes.json").write_text('{"a.jpg": [[0, 0, 1, 1]]}')
    assert not is_karpathy(tmp_path / "boxes.json")
    assert not is_karpathy(tmp_path / "none.json")
    assert not is_karpathy(tmp_path)


def test_restval_is_added_on_request(tmp_path):
    field.write_npz(tmp_path / "features")
    path = field.write_karpathy(tmp_path, splits=("restval", "val", "train", "test"))
    assert list(open_source(path).splits) == ["dev", "restval", "test", "train"]
    assert opened(path, "train").image_ids == [NAMES[2]]
    assert opened(path, "train", restval=True).image_ids == [NAMES[2], NAMES[0]]
    assert list(open_source(path, restval=True).splits) == ["dev", "test", "train"]


@pytest.mark.parametrize(
    ("dataset", "kept", "expected"),
    [("own", None, [5, 7]), ("coco", None, [5, 5]), ("coco", 0, [5, 7]), ("own", 2, [2, 2])],
)
def test_captions_per_image(tmp_path, dataset, kept, expected):
    field.write_npz(tmp_path / "features")
    path = field.write_karpathy(tmp_path, dataset=dataset)
    found = opened(path, "train", captions_per_image=kept)
    np.testing.assert_array_equal(np.bincount(found.caption_to_image), expected)
    assert found.captions == [
        text
        for i, count in zip(OURS["train"], expected, strict=True)
        for text in CAPTIONS[i][:count]
    ]


def test_a_negative_number_of_captions(tmp_path):
    with pytest.raises(ValueError, match="at least 0, which keeps all. Received: captions_per_im"):
        open_source(tmp_path, captions_per_image=-1)


def test_a_cocoid_is_not_taken_for_a_name(tmp_path):
    """With names that are numbers, and ids of MS-COCO that are the names of others."""
    images = [
        {"filename": f"{i}.jpg", "cocoid": 3 - i, "split": "train", "sentences": [{"raw": "a"}]}
        for i in range(4)
    ]
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"images": images}))
    field.write_npz(tmp_path / "features", "0123")
    assert_holds(opened(path, "train"), range(4))


def test_names_that_differ_in_their_ending_alone(tmp_path):
    images = [
        {"filename": name, "split": "train", "sentences": [{"raw": "a"}]}
        for name in ("a.png", "a.jpg")
    ]
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"images": images}))
    field.write_npz(tmp_path / "features", ["a"])
    with pytest.raises(DataError, match="has no image 'a.png'; it lacks 2 of 2, looked up by name"):
        opened(path, "train")
    field.write_npz(tmp_path / "features", ["a.jpg", "a.png"])
    assert_holds(opened(path, "train"), [1, 0])


def test_captions_that_are_missing(tmp_path):
    field.write_npz(tmp_path / "features")
    path = field.write_karpathy(tmp_path)
    content = json.loads(path.read_text())
    content["images"][2]["sentences"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"split train: the image '{NAMES[2]}' has no caption"):
        opened(path, "train")
    content["images"][0]["sentences"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="dataset_own.json has no captions in the split train"):
        opened(path, "train")
    alone = opened(path, "train", images_alone=True)
    assert alone.captions == [] and alone.image_ids == [NAMES[0], NAMES[2]]
