import os
import struct
import zipfile

import numpy as np
import pytest

from hslm_tf.beam.files import ShardArray, read_shard, write_shard
from hslm_tf.data.errors import DataError


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "ids": np.array(["ü", "another"]),
        "regions": rng.normal(size=(2, 3, 4)).astype(np.float16),
        "rejected_reasons": np.array([], np.str_),
    }


def test_arrays_come_back(arrays, tmp_path):
    path = str(tmp_path / "a.npz")
    write_shard(path, arrays)
    assert os.listdir(tmp_path) == ["a.npz"]
    found = read_shard(path, list(arrays), ["nothing"])
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
    lazy = ShardArray(path, "regions", (2, 3, 4), "float16")
    assert len(lazy) == 2
    np.testing.assert_array_equal(lazy[np.array([1, 0, 1])], arrays["regions"][[1, 0, 1]])


def test_damage_is_an_error(arrays, tmp_path):
    path = tmp_path / "a.npz"
    write_shard(str(path), arrays)
    content = path.read_bytes()
    damaged = bytearray(content)
    with zipfile.ZipFile(path) as file:
        entry = file.getinfo("regions.npy")
    # One number of the array itself, behind two headers.
    names = struct.unpack("<HH", content[entry.header_offset + 26 : entry.header_offset + 30])
    damaged[entry.header_offset + 30 + sum(names) + entry.file_size - 1] ^= 1
    for broken in (bytes(damaged), content[:-30], content[:100], b"", b"hello"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"a.npz cannot be read as a shard: .*remove it"):
            read_shard(str(path), ["regions"])
    path.unlink()
    with pytest.raises(DataError, match="a.npz cannot be read as a shard"):
        read_shard(str(path), ["regions"])


@pytest.mark.parametrize("expected", [((2, 3, 5), "float16"), ((2, 3, 4), "float32")])
def test_another_array_than_expected_is_an_error(arrays, tmp_path, expected):
    write_shard(str(tmp_path / "a.npz"), arrays)
    with pytest.raises(DataError, match="a.npz: regions is float16 of shape .*, expected "):
        ShardArray(str(tmp_path / "a.npz"), "regions", *expected)[np.array([0])]


def test_a_missing_array_is_an_error(arrays, tmp_path):
    write_shard(str(tmp_path / "a.npz"), arrays)
    with pytest.raises(DataError, match="a.npz cannot be read as a shard: .*nothing.*remove it"):
        read_shard(str(tmp_path / "a.npz"), ["nothing"])
