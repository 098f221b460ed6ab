"""Small files that would unpack, or be split, to gigabytes, or that would take minutes."""

import json
import time
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from hslm_tf.data import DataError, load_dataset
from hslm_tf.text.word_vectors import load_word_vectors
from tests.data import field_files as field


def write_groups(path):
    with h5py.File(path, "w") as file:
        for number in range(20_000):
            file.create_group(f"{number}")


def zeros(path, **members):
    """An archive with arrays of zeros, of gigabytes in a file of megabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, (header, size) in members.items():
            with archive.open(name.replace("_", "."), "w", force_zip64=True) as member:
                member.write(header)
                for first in range(0, size, 1 << 24):
                    member.write(bytes(min(size - first, 1 << 24)))


def array(descr, *shape):
    """The header of an array, and how many bytes follow it."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    return start + text, np.dtype(descr).itemsize * int(np.prod(shape))


FLOAT = array("<f4", 1)
FEATURES = {"x_npy": array("<f4", 3, 4)}
LARGE = 600_000_000
LONG = {"images": [{"filename": "a.jpg", "split": "all", "sentences": [{"raw": "a" * 10_000_000}]}]}
BOMBS = {
    "boxes": ("a.npz", lambda path: zeros(path, **FEATURES, bbox_npy=array("<f4", LARGE // 16, 4))),
    "header": (
        "a.npz",
        lambda path: zeros(path, x_npy=(b"\x93NUMPY\x02\x00" + LARGE.to_bytes(4, "little"), LARGE)),
    ),
    "words": (
        "vectors.npz",
        lambda path: zeros(path, words_npy=array("<U50", LARGE // 200), vectors_npy=FLOAT),
    ),
    "vectors": (
        "vectors.npz",
        lambda path: zeros(
            path, words_npy=array("<U1", 1000), vectors_npy=array("<f4", 1000, LARGE // 4000)
        ),
    ),
    "tabs": ("train.tsv", lambda path: path.write_bytes(b"\t" * 100_000_000)),
    "a long line": ("vectors.txt", lambda path: path.write_bytes(b"a " * 50_000_000)),
    "a long caption": ("own.token", lambda path: path.write_bytes(b"a.jpg#0\t" + bytes(10**8))),
    "a long caption in a JSON": ("own.json", lambda path: path.write_text(json.dumps(LONG))),
    "no lines": ("train_caps.txt", lambda path: path.write_bytes(b"\n" * 100_000_000)),
    "groups": ("a.h5", write_groups),
}


def test_more_groups_than_splits_are_named(tmp_path, caplog):
    write_groups(tmp_path / "a.h5")
    with pytest.raises(DataError, match="a.h5 holds no split"):
        load_dataset(tmp_path / "a.h5", "train")
    assert "a.h5 has 20,000 groups, more than there are splits" in caplog.text


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_that_would_take_gigabytes_or_minutes(bomb, tmp_path):
    name, write = BOMBS[bomb]
    split = "train" if name == "train_caps.txt" else "all"
    write(tmp_path / name)
    started = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=name) as error:
            if name.startswith("vectors"):
                load_word_vectors(tmp_path / name, ["dog"], 2)
            field.opened(
                tmp_path / (name if name == "a.h5" else ""), split, images_alone=True
            ).read_boxes(np.arange(1))
        assert tracemalloc.get_traced_memory()[1] < 512 << 20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 10 and "\n" not in str(error.value)


def test_a_model_that_would_unpack_to_gigabytes(tmp_path):
    from hslm_tf.retrieval.projection_heads import read_heads
    from hslm_tf.runs.checkpoints import load_whole

    zeros(tmp_path / "a.keras", weights_h5=(b"", LARGE))
    for load in (load_whole, read_heads):
        with pytest.raises(ValueError, match=f"a.keras.*unpacks from .* bytes to {LARGE}"):
            load(tmp_path / "a.keras")
