"""The file of a collection."""

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.data.errors import DataError
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.encodings import allocate
from hslm_tf.retrieval.rows import Rows
from hslm_tf.runs.opening import open_collection
from tests.tiny_collection import QUERIES, assert_same, build, make_dataset, make_model
from tests.tiny_model import SIZES, WORDS


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_save_and_load(model, dataset, dtype, tmp_path):
    built = build(model, dataset, dtype, image_folder=tmp_path)
    built.add(make_dataset(3, seed=5, prefix="new"))
    built.remove(["im1"])
    path = tmp_path / "a.h5"
    built.save(path)
    loaded = Collection.load(path, model, verify=True)
    assert (loaded.ids, loaded.captions) == (built.ids, built.captions)
    assert loaded.image_folder == str(tmp_path)
    found, expected = loaded.encoded, built.encoded
    assert isinstance(found.images.regions._arrays[0], np.memmap)
    for name in ("vectors", "caption_vectors", "caption_to_image"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    for name in ("regions", "region_mask"):
        parts = getattr(found.images, name), getattr(expected.images, name)
        np.testing.assert_array_equal(*parts, name)
    assert_same(loaded.search(QUERIES, 14), built.search(QUERIES, 14))
    assert_same(loaded.search_by_image(["new2"], 9), built.search_by_image(["new2"], 9))
    # A loaded collection can change and replace the file that it reads from.
    loaded.remove(["im2"])
    answers = loaded.search(QUERIES, 14)
    loaded.save(path)
    assert_same(loaded.search(QUERIES, 14), answers)
    assert_same(Collection.load(path, model).search(QUERIES, 14), answers)
    assert os.listdir(tmp_path) == ["a.h5"]


def test_no_right_to_write_names_the_collection(collection, tmp_path, monkeypatch):
    def refused(dir):
        if Path(dir) == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/tmp1234")
        return make(dir=dir)

    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(PermissionError, match="Permission denied: '.*a.h5'"):
        collection.save(tmp_path / "a.h5")
    with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}'"):
        allocate((3,), "float32", tmp_path)


def test_a_copy_of_the_model_is_the_model(collection, model, tmp_path):
    collection.save(tmp_path / "a.h5")
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(
        Collection.load(tmp_path / "a.h5", copy).search(QUERIES), collection.search(QUERIES)
    )


def test_another_model_is_refused(collection, tmp_path):
    collection.save(tmp_path / "a.h5")
    others = [make_model(seed=1), HSLM(ModelConfig(**SIZES), [*WORDS, "wolf"])]
    for other in others:
        with pytest.raises(ValueError, match="a.h5 was built with another model, "):
            Collection.load(tmp_path / "a.h5", other)
    with pytest.raises(DataError, match="was built with the run None: its model is not found"):
        open_collection(tmp_path / "a.h5")


def test_broken_files_are_refused(collection, model, tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(DataError, match="a.h5: there is no such file"):
        Collection.load(path, model)
    collection.save(path)
    data = path.read_bytes()
    for cut in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(DataError, match="a.h5 cannot be read as HDF5"):
            Collection.load(path, model)
    encoded = collection.encoded
    for part, values, verify in (
        ("vectors", encoded.vectors, False),
        ("regions", encoded.images.regions, True),
        ("words", encoded.texts.words, True),
    ):
        values = np.ascontiguousarray(values[:]).tobytes()
        damaged = bytearray(data)
        damaged[data.index(values) + len(values) // 2] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"a.h5:/{part} is damaged"):
            Collection.load(path, model, verify=verify)


def test_numbers_that_are_not_finite_are_refused(collection, model, tmp_path):
    path, encoded = tmp_path / "a.h5", collection.encoded

    def save(**changes):
        changed = dataclasses.replace(encoded, **changes)
        Collection(model, collection.heads, changed).save(path)

    vectors = encoded.vectors.copy()
    vectors[2, 0] = np.nan
    save(vectors=vectors)
    with pytest.raises(DataError, match="a.h5:/vectors, row 2: it holds NaN or infinity"):
        Collection.load(path, model)
    # The checksum is right; regions are mapped, and read when they are needed.
    regions = encoded.images.regions[:]
    regions[2] = np.nan
    save(images=dataclasses.replace(encoded.images, regions=Rows([regions])))
    with pytest.raises(DataError, match=r"The score of 'im\d+' is no finite number: the coll"):
        Collection.load(path, model).search(QUERIES, num_candidates=None)


def test_a_file_replaced_while_it_is_opened_is_refused(collection, model, tmp_path, monkeypatch):
    collection.save(tmp_path / "a.h5")
    opened = h5py.File

    class Racing:
        def __enter__(self):
            # The mapped handle is of the old file, HDF5 opens the new one.
            shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
            os.replace(tmp_path / "b.h5", tmp_path / "a.h5")
            self._file = opened(tmp_path / "a.h5", "r")
            return self._file

        def __exit__(self, *error):
            self._file.close()

    monkeypatch.setattr(h5py, "File", lambda *args: Racing())
    with pytest.raises(DataError, match="a.h5 was replaced while it was opened"):
        Collection.load(tmp_path / "a.h5", model)


def test_a_killed_save_leaves_the_old_file(collection, model, tmp_path):
    path = tmp_path / "a.h5"
    collection.save(path)
    before = path.read_bytes()
    script = f"""
import os
import numpy as np
from pathlib import Path
from hslm_tf.retrieval.collection_file import write_parts
class Deadly:
    shape, dtype = (8, 4), np.dtype("float32")
    def __len__(self): return 8
    def __getitem__(self, rows): os.kill(os.getpid(), 9)
write_parts(Path({str(path)!r}), {{"ids": ["x"], "vectors": Deadly()}}, {{}})
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=os.getcwd())
    assert killed.returncode == -9
    assert path.read_bytes() == before
    assert Collection.load(path, model, verify=True).ids == collection.ids


def test_a_failing_save_leaves_nothing_behind(collection, tmp_path, monkeypatch):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        collection.save(tmp_path / "a.h5")
    assert os.listdir(tmp_path) == []
