"""Files of collections that somebody else wrote: checksums are right, and nothing else is."""

import json

import h5py
import numpy as np
import pytest

from hslm_tf.data.errors import DataError
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.collection_file import read_parts, run_of_collection, write_parts
from tests.tiny_collection import build, make_model


@pytest.fixture
def path(collection, tmp_path):
    collection.save(tmp_path / "a.h5")
    return tmp_path / "a.h5"


def change_manifest(path, change):
    with h5py.File(path, "a") as file:
        manifest = json.loads(file.attrs["manifest"])
        file.attrs["manifest"] = change(manifest)


MANIFESTS = {
    "a list": (lambda manifest: "[]", r"the manifest of .*a.h5 holds \[\], expected an object"),
    "a number": (lambda manifest: "3", "the manifest of .*a.h5 holds 3, expected an object"),
    "no JSON": (lambda manifest: "{", "the manifest of .*a.h5 is not JSON"),
    "nested": (lambda manifest: '{"a": ' + "[" * 9999, "the manifest of .*a.h5 is not .*too deep"),
    "no text": (lambda manifest: 3, "a.h5 has no manifest"),
    "no checksums": (lambda manifest: "{}", "the manifest of .*a.h5 has no checksums"),
    "checksums": (lambda manifest: '{"checksums": [1]}', "manifest of .*a.h5 has no checksums"),
    "run": (lambda m: json.dumps({**m, "run": 3}), "manifest of .*a.h5 has run 3, expected a path"),
    "model": (lambda m: json.dumps({**m, "model": None}), "manifest of .*a.h5 names no model"),
    "format": (lambda m: json.dumps({**m, "format": [2]}), r"a.h5 has format \[2\], expected 2"),
    "extraction": (lambda m: json.dumps({**m, "extraction": "x"}), "a.h5 has an extraction that"),
    "another part": (
        lambda m: json.dumps({**m, "checksums": {**m["checksums"], "more": 1}}),
        "a.h5 lacks /more, which its manifest lists",
    ),
    "a part less": (
        lambda m: json.dumps({**m, "checksums": {"ids": m["checksums"]["ids"]}}),
        "a.h5 lacks captions, lengths, vectors",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifests(case, path, model):
    change, message = MANIFESTS[case]
    change_manifest(path, change)
    with pytest.raises(DataError, match=message):
        Collection.load(path, model)
    if case in ("run", "model", "format", "nested", "a list"):
        with pytest.raises(DataError, match=message):
            run_of_collection(path)


PARTS = {
    "ids": (np.zeros(12, np.float32), "/ids is float32, expected strings"),
    "vectors": (["a"] * 12, "/vectors holds strings, expected numbers"),
    "region_mask": (np.ones((12, 6), np.float32), r"/region_mask is float32 of shape \(12, 6\)"),
    "regions": (np.zeros((12, 6, 3), np.float32), r"/regions is float32 of shape \(12, 6, 3\)"),
    "boxes": (np.zeros((12, 7, 4), np.float32), r"/boxes is float32 of shape \(12, 7, 4\)"),
    "words": (np.zeros((3, 16), np.float32), r"/words is float32 of shape \(3, 16\)"),
    "lengths": (np.full(36, -1), "/lengths has a caption of -1 words"),
    "caption_to_image": (np.full(36, 99), "is damaged: `caption_to_image` must be rows of the 12"),
    "projection_heads": (
        np.zeros(99, np.uint8),
        "is damaged: /projection_heads cannot be read as projection heads",
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_another_form_with_right_checksums(name, path, model):
    values, message = PARTS[name]
    parts, manifest = read_parts(path)
    write_parts(path, {**parts, name: values}, manifest)
    with pytest.raises(DataError, match=rf"a.h5.*{message}"):
        Collection.load(path, model)


def test_a_caption_longer_than_the_model_takes(path, model):
    parts, manifest = read_parts(path)
    write_parts(path, {**parts, "lengths": np.full(36, 10**6)}, manifest)
    with pytest.raises(DataError, match="/lengths has a caption of 1000000 words, expected 0 to"):
        Collection.load(path, model)


@pytest.mark.parametrize("name", ["image_global", "text_global"])
def test_global_vectors_that_the_model_needs(name, dataset, tmp_path):
    model = make_model(image_global="regions")
    build(model, dataset).save(tmp_path / "a.h5")
    parts, manifest = read_parts(tmp_path / "a.h5")
    del parts[name]
    write_parts(tmp_path / "a.h5", parts, manifest)
    with pytest.raises(DataError, match=f"a.h5 lacks {name}: it is not a collection"):
        Collection.load(tmp_path / "a.h5", model)


@pytest.mark.parametrize("packed", [{"compression": "gzip"}, {"chunks": (1 << 16,)}, {}], ids=str)
def test_a_small_file_that_says_it_is_large(packed, path, model):
    """Nothing of it is read: 3 GB would come of a file of some kilobytes."""
    with h5py.File(path, "a") as file:
        del file["lengths"]
        file.create_dataset("lengths", (100_000_000,), "i8", **packed)
    with pytest.raises(DataError, match="a.h5:/lengths has shape .*, more than a file of"):
        Collection.load(path, model)


def test_a_part_that_is_compressed(path, model):
    with h5py.File(path, "a") as file:
        lengths = file["lengths"][()]
        del file["lengths"]
        file.create_dataset("lengths", data=lengths, compression="gzip")
    with pytest.raises(DataError, match="a.h5:/lengths is chunked or compressed, expected contig"):
        Collection.load(path, model)


def test_a_part_in_another_file(path, model, tmp_path):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["vectors"] = np.zeros((12, 16), np.float32)
    with h5py.File(path, "a") as file:
        del file["vectors"]
        file["vectors"] = h5py.ExternalLink("b.h5", "/vectors")
    with pytest.raises(DataError, match="a.h5:/vectors lies in another file"):
        Collection.load(path, model)


def test_white_space_around_ids_is_theirs(path, model):
    parts, manifest = read_parts(path)
    ids = [" a ", "", "b\n", *parts["ids"][3:]]
    write_parts(path, {**parts, "ids": ids}, manifest)
    assert Collection.load(path, model).ids == ids
