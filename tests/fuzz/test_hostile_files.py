"""Files that are made to do harm: pickles that run, names that lead elsewhere, deep texts."""

import json
import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.data.convert import convert
from hslm_tf.images.listing import list_photographs
from hslm_tf.text.split_captions import cache_folder, cached_split
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.text.word_vectors import load_word_vectors
from tests.data import field_files as field
from tests.data.split_files import write_split
from tests.fuzz.kinds import same
from tests.fuzz.other_kinds import KINDS
from tests.images import pictures


class Payload:
    """A pickle of it makes a file when it is opened."""

    def __init__(self, victim):
        self._victim = str(victim)

    def __reduce__(self):
        return os.mkdir, (self._victim,)


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    yield path
    assert not path.exists(), "a pickle ran"


def objects(victim):
    return np.array([Payload(victim)], dtype=object)


def test_the_payload_would_run(tmp_path):
    np.save(tmp_path / "a.npy", objects(tmp_path / "made"))
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("part", ["ims", "boxes", "num_regions"])
def test_a_pickle_as_npy(part, victim, tmp_path):
    folder = write_split(tmp_path / "data")
    np.save(folder / f"train_{part}.npy", objects(victim))
    with pytest.raises(DataError, match=f"train_{part}.npy holds Python objects.* numpy.savez"):
        load_dataset(folder, "train")
    (folder / f"train_{part}.npy").write_bytes(pickle.dumps(Payload(victim)))
    with pytest.raises(DataError, match=f"train_{part}.npy is not a .npy array"):
        load_dataset(folder, "train")


@pytest.mark.parametrize("key", ["x", "bbox", "num_bbox", "image_w"])
def test_a_pickle_in_an_npz(key, victim, tmp_path):
    parts = {"x": np.ones((2, 3), np.float32), "bbox": np.ones((2, 4), np.float32), "num_bbox": 2}
    np.savez(tmp_path / "a.npz", **{**parts, key: objects(victim)})
    with pytest.raises(DataError, match=f"a.npz.*{key} holds Python objects"):
        dataset = field.opened(tmp_path, "all", images_alone=True)
        dataset.read_boxes(np.arange(1))


def test_pickles_beside_are_left_alone(victim, tmp_path):
    field.write_npz(tmp_path)
    (tmp_path / "val_imgid2idx.pkl").write_bytes(pickle.dumps(Payload(victim)))
    np.save(tmp_path / f"{field.STEMS[0]}_info.npy", objects(victim))
    assert field.opened(tmp_path, "all", images_alone=True).num_images == 4


def test_a_pickle_as_vocabulary_and_as_word_vectors(victim, tmp_path):
    for name in ("vocab.pkl", "vocab.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(victim)))
        with pytest.raises(DataError, match=f"{name} is not a vocabulary: it is a pickle"):
            Vocabulary.load(tmp_path / name)
    np.savez(tmp_path / "vectors.npz", words=objects(victim), vectors=np.ones((1, 2)))
    with pytest.raises(DataError, match="vectors.npz.*holds Python objects"):
        load_word_vectors(tmp_path / "vectors.npz", ["dog"], 2)


def test_a_pickle_as_cache_of_captions(victim, tmp_path, monkeypatch):
    monkeypatch.setenv("HSLM_TF_CACHE", str(tmp_path / "cache"))
    expected = cached_split(["a dog runs away"])
    (path,) = cache_folder().glob("captions-*.npz")
    for content in (objects(victim), None):
        if content is None:
            path.write_bytes(pickle.dumps(Payload(victim)))
        else:
            np.savez(path, words=content, places=content, offsets=content)
        assert cached_split(["a dog runs away"]).words == expected.words


def test_a_pickle_as_shard(victim, tmp_path):
    from hslm_tf.beam.files import read_shard

    np.savez(tmp_path / "a.npz", ids=objects(victim))
    with pytest.raises(DataError, match="a.npz.*holds Python objects"):
        read_shard(str(tmp_path / "a.npz"), ["ids"])


def test_an_array_that_says_it_is_huge(tmp_path):
    """Its header asks for a terabyte, the archive holds nothing of it."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 300)}\n"
    with zipfile.ZipFile(tmp_path / "vectors.npz", "w") as archive:
        for name in ("words", "vectors", "x"):
            array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            archive.writestr(f"{name}.npy", array)
    with pytest.raises(DataError, match="words has 0 bytes, expected float32 of shape"):
        load_word_vectors(tmp_path / "vectors.npz", ["dog"], 2)
    with pytest.raises(DataError, match="vectors.npz: the features of one image have shape"):
        field.opened(tmp_path, "all", images_alone=True)


# Names that would be read or written elsewhere.
ELSEWHERE = ("../secret.jpg", "/etc/secret.jpg", "sub/../../secret.jpg", "..")


@pytest.fixture
def folder(tmp_path):
    pictures.write(tmp_path / "secret.jpg")
    pictures.write(tmp_path / "photographs/a.jpg")
    (tmp_path / "photographs/sub").mkdir()
    return tmp_path / "photographs"


def listed(where, images=None):
    return list_photographs(where, images, "all")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_of_photographs_elsewhere(name, folder):
    (folder / "names.txt").write_text(f"a.jpg\n{name}\n")
    with pytest.raises(DataError, match="names.txt, line 2: the name .* leaves the folder"):
        listed(folder / "names.txt")
    if name.endswith(".jpg"):
        (folder / "own.token").write_text(f"{name}#0\ta dog\n")
        with pytest.raises(DataError, match="own.token: the name .* leaves the folder"):
            listed(folder / "own.token")
    image = {"split": "test", "sentences": [{"raw": "a dog"}]}
    for entry in ({"filename": name}, {"filename": "b.jpg", "filepath": name}):
        (folder / "own.json").write_text(json.dumps({"images": [{**image, **entry}]}))
        with pytest.raises(DataError, match="own.json.*: the name .* leaves the folder"):
            listed(folder / "own.json", folder)


def test_a_split_that_would_be_written_elsewhere(tmp_path):
    (tmp_path / "source").mkdir()
    field.write_npz(tmp_path / "source/features")
    for split in ("../test", "/tmp/test", "a/b", ".hidden", "a\nb"):
        field.write_karpathy(tmp_path / "source", splits=[split] * 4)
        for target in ("target", "target.h5"):
            with pytest.raises(DataError, match="cannot be the beginning of a file's name"):
                convert(tmp_path / "source", tmp_path / target, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_links_that_are_read(tmp_path):
    """People link large files into their folders; SECURITY.md says so."""
    (tmp_path / "links").mkdir()
    for path in write_split(tmp_path / "data").iterdir():
        (tmp_path / "links" / path.name).symlink_to(path)
    pictures.write(tmp_path / "a.jpg")
    (tmp_path / "links" / "b.jpg").symlink_to(tmp_path / "a.jpg")
    linked, real = (load_dataset(tmp_path / name, "train") for name in ("links", "data"))
    assert linked.captions == real.captions
    np.testing.assert_array_equal(linked.read_boxes([0]), real.read_boxes([0]))
    (photograph,) = listed(tmp_path / "links")["all"]
    assert photograph.path.read_bytes() == (tmp_path / "a.jpg").read_bytes()


def test_a_link_in_the_place_of_a_file_that_is_written(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/train_ims.npy").symlink_to(tmp_path / "precious")
    write_split(tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "target", progress=False, overwrite=True)
    assert (tmp_path / "precious").read_text() == "mine"
    assert load_dataset(tmp_path / "target", "train").num_images == 6


TEXTS = {
    "nested lists": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "a list": "[]",
    "a number": "3",
    "a text": '"a"',
    "nothing": "null",
    "empty": "",
    "half a character": '"\\ud800"',
    "a number beyond all": "9" * 10_000,
}
JSON_KINDS = [
    kind
    for kind in KINDS.values()
    if kind.damaged[0].endswith(".json") or kind.name == "precomputed"
]


@pytest.mark.parametrize("kind", JSON_KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("text", TEXTS)
def test_texts_in_the_place_of_a_json(text, kind, tmp_path):
    kind.write(tmp_path)
    (path,) = [tmp_path / "data" / name for name in kind.damaged if name.endswith(".json")]
    path.write_text(TEXTS[text])
    with pytest.raises(ValueError, match=path.name) as error:
        kind.read(tmp_path)
    assert len(str(error.value)) < 2100 and "\n" not in str(error.value)


MARKED = [
    (kind, name)
    for kind in KINDS.values()
    for name in kind.damaged
    if name.endswith((".txt", ".json", ".tsv", ".token", ".csv"))
]


@pytest.mark.parametrize("kind, name", MARKED, ids=lambda value: getattr(value, "name", value))
def test_a_byte_order_mark_is_no_part_of_a_text(kind, name, tmp_path):
    kind.write(tmp_path)
    expected = kind.read(tmp_path)
    path = tmp_path / "data" / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert same(kind.read(tmp_path), expected)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n\t\n"])
def test_an_empty_file_of_ids(content, tmp_path):
    for kind in ("token file", "HDF5 without splits, regions first", "precomputed"):
        folder = tmp_path / kind
        folder.mkdir()
        KINDS[kind].write(folder)
        (folder / "data/train_ids.txt").write_bytes(content)
        with pytest.raises(DataError, match="train_ids.txt has (no|0) ids"):
            KINDS[kind].read(folder)


def test_an_hdf5_file_that_shows_another_one(tmp_path):
    """A link is refused, here in a file without splits."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["image_features"] = np.ones((4, 2, 3), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image_features"] = h5py.ExternalLink(str(secret), "/image_features")
    with pytest.raises(DataError, match="a.h5.*lies in another file"):
        field.opened(tmp_path / "a.h5", "all", images_alone=True)
