import json
import os

import pytest

from hslm_tf.data.errors import DataError
from hslm_tf.images.listing import Photograph, list_photographs
from tests.images.pictures import write


def listed(where, images=None, split="test", **options):
    return list_photographs(where, images, split, **options)


def karpathy(path, images, **content):
    entries = [
        {
            "filename": name,
            "split": split,
            "sentences": [{"raw": caption} for caption in captions],
            **({"filepath": folder} if folder else {}),
        }
        for name, split, folder, captions in images
    ]
    path.write_text(json.dumps({"images": entries, **content}))
    return path


def test_a_folder_with_folders_below(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/.hidden.jpg", ".git/x.png", "c d.webp"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("none")
    found = listed(tmp_path)
    assert found == {
        "test": [
            Photograph("a/z.JPG", tmp_path / "a/z.JPG"),
            Photograph("b.png", tmp_path / "b.png"),
            Photograph("c d.webp", tmp_path / "c d.webp"),
        ]
    }
    assert list(listed(tmp_path, split="mine")) == ["mine"]


def test_a_list(tmp_path):
    names = tmp_path / "names.txt"
    names.write_bytes("\ufeffb.jpg\r\nsub/ä.png\r\n\r\n".encode())
    images = tmp_path / "images"
    images.mkdir()
    found = listed(names, images)["test"]
    assert found == [
        Photograph("b.jpg", images / "b.jpg"),
        Photograph("sub/ä.png", images / "sub/ä.png"),
    ]
    assert listed(names)["test"][0].path == tmp_path / "b.jpg"


def test_karpathys_json(tmp_path):
    write(tmp_path / "images/val2014/b.jpg")
    write(tmp_path / "images/a.jpg")
    rows = [
        ("a.jpg", "train", "train2014", ["a dog", "a  dog\nruns"]),
        ("b.jpg", "val", "val2014", ["a cat", "two cats"]),
        ("c.jpg", "restval", "val2014", ["a cow", "cows"]),
    ]
    file = karpathy(tmp_path / "dataset.json", rows)
    images = tmp_path / "images"
    found = listed(file, images)
    assert found == {
        "train": [Photograph("a.jpg", images / "a.jpg", ("a dog", "a dog runs"))],
        "dev": [Photograph("b.jpg", images / "val2014/b.jpg", ("a cat", "two cats"))],
        "restval": [Photograph("c.jpg", images / "c.jpg", ("a cow", "cows"))],
    }
    found = listed(file, images, restval=True, captions_per_image=1)
    assert [photograph.captions for photograph in found["train"]] == [("a dog",), ("a cow",)]
    assert "restval" not in found


def test_the_folder_that_the_json_names_comes_first(tmp_path):
    for folder in ("thumbnails", "val2014"):
        write(tmp_path / folder / "a.jpg")
    file = karpathy(tmp_path / "dataset.json", [("a.jpg", "test", "val2014", ["a dog"])])
    assert listed(file)["test"][0].path == tmp_path / "val2014/a.jpg"


@pytest.mark.parametrize(
    "name, split, error",
    [
        ("a\nb.jpg", "test", r"split test: the name 'a\\nb\.jpg' cannot be an id"),
        ("a\0.jpg", "test", "filename is .*, expected some text"),
        ("a.jpg", "../x", r"dataset\.json, image 0: the split '\.\./x' cannot be"),
    ],
)
def test_a_json_that_would_break_the_files_of_a_split(tmp_path, name, split, error):
    with pytest.raises(DataError, match=error):
        listed(karpathy(tmp_path / "dataset.json", [(name, split, "", ["a dog"])]))


def test_only_some_photographs_have_captions(tmp_path):
    rows = [("a.jpg", "test", "", ["a dog"]), ("b.jpg", "test", "", [])]
    with pytest.raises(DataError, match="'b.jpg' has no caption, though others have"):
        listed(karpathy(tmp_path / "dataset.json", rows))


def test_a_json_without_captions(tmp_path):
    rows = [(name, "test", "", []) for name in ("a.jpg", "b.jpg")]
    found = listed(karpathy(tmp_path / "dataset.json", rows))["test"]
    assert found == [Photograph(name, tmp_path / name) for name in ("a.jpg", "b.jpg")]


def test_a_name_that_is_too_long_for_a_file_is_not_there(tmp_path):
    name = "a" * 300 + ".jpg"
    found = listed(karpathy(tmp_path / "dataset.json", [(name, "test", "", ["a dog"])]))
    assert found["test"][0].path == tmp_path / name


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    write(tmp_path / "a.jpg")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="closed: the folder cannot be read: Permission denied"):
        listed(tmp_path)


@pytest.mark.parametrize("split", ["", "a/b", ".hidden", "a\nb"])
def test_a_split_is_the_beginning_of_a_name(tmp_path, split):
    write(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="cannot be"):
        listed(tmp_path, split=split)


def test_a_token_file(tmp_path):
    (tmp_path / "mine.token").write_text("a.jpg#0\tone dog\na.jpg#1\ta dog\nb.png#0\ttwo dogs\n")
    (tmp_path / "train_ids.txt").write_text("b.png\n")
    (tmp_path / "dev_ids.txt").write_text("a.jpg\n")
    found = listed(tmp_path / "mine.token")
    assert found["train"] == [Photograph("b.png", tmp_path / "b.png", ("two dogs",))]
    assert found["dev"] == [Photograph("a.jpg", tmp_path / "a.jpg", ("one dog", "a dog"))]


@pytest.mark.parametrize(
    "name, content",
    [
        ("captions.txt", 'image,caption\na.jpg,"one dog, big"\nb.png,two dogs\na.jpg,a dog\n'),
        (
            "captions_val2014.json",
            '{"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.png"}],'
            '"annotations": [{"image_id": 7, "caption": "one dog, big"},'
            '{"image_id": 3, "caption": "two dogs"}, {"image_id": 7, "caption": "a dog"}]}',
        ),
    ],
)
def test_other_files_of_captions(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert listed(tmp_path / name)["all"] == [
        Photograph("a.jpg", tmp_path / "a.jpg", ("one dog, big", "a dog")),
        Photograph("b.png", tmp_path / "b.png", ("two dogs",)),
    ]


def test_a_name_in_two_folders(tmp_path):
    for folder in ("x", "y"):
        write(tmp_path / folder / "a.jpg")
    (tmp_path / "mine.token").write_text("a.jpg#0\tone dog\n")
    error = r"holds 'a\.jpg' more than once: .*x.* and .*y|y.* and .*x"
    with pytest.raises(DataError, match=error):
        listed(tmp_path / "mine.token")


@pytest.mark.parametrize(
    "content, error",
    [
        ("", "names.txt names no photograph"),
        ("a.jpg\n\nb.jpg\n", "names.txt, line 2: the line is empty"),
        ("a.jpg\nb.jpg\na.jpg\n", "line 3: 'a.jpg' is named already, see .*line 1"),
        ("a\tb.jpg\n", r"line 1: the name 'a\\tb.jpg' cannot be an id"),
    ],
)
def test_a_broken_list(tmp_path, content, error):
    (tmp_path / "names.txt").write_text(content)
    with pytest.raises(DataError, match=error):
        listed(tmp_path / "names.txt")


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="none: there is no such folder or file"):
        listed(tmp_path / "none")
    with pytest.raises(DataError, match="holds no photograph: no file ends in .jpg"):
        listed(tmp_path)
    (tmp_path / "names.txt").write_text("a.jpg\n")
    with pytest.raises(DataError, match="absent: there is no such folder"):
        listed(tmp_path / "names.txt", tmp_path / "absent")
    with pytest.raises(DataError, match="is a folder of photographs already"):
        listed(tmp_path, tmp_path)


def test_names_that_are_no_text(tmp_path):
    write(tmp_path / "good.png")
    os.rename(tmp_path / "good.png", os.fsencode(tmp_path) + b"/\xff.png")
    with pytest.raises(DataError, match="is not valid Unicode"):
        listed(tmp_path)
