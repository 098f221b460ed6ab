import os
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems

from hslm_tf.beam.files import (
    ShardArray,
    copy_folder,
    file_sizes,
    is_local,
    read_file,
    read_shard,
    remove_drafts,
    write_file,
    write_shard,
)
from hslm_tf.data.errors import DataError
from tests.beam.bucket import address


@pytest.fixture(params=["path", "address"])
def place(request, tmp_path):
    """A folder by its path, and the same one behind an address."""
    return str(tmp_path) if request.param == "path" else address(tmp_path)


def test_files_are_written_whole(place, tmp_path):
    assert is_local(place) == ("://" not in place)
    assert file_sizes(f"{place}/a") == {}
    path = FileSystems.join(place, "a", "b", "one.bin")
    write_file(path, b"before")
    write_file(path, b"after")
    assert read_file(path) == b"after"
    assert file_sizes(f"{place}/a") == {path: 5}
    assert os.listdir(tmp_path / "a" / "b") == ["one.bin"]


def test_a_folder_is_copied_with_all_below(place, tmp_path):
    for name in ("saved_model.pb", "variables/variables.index", "assets.extra/x"):
        write_file(FileSystems.join(place, "from", *name.split("/")), name.encode())
    copy_folder(f"{place}/from", f"{place}/to")
    found = {path.removeprefix(f"{place}/to/") for path in file_sizes(f"{place}/to")}
    assert found == {"saved_model.pb", "variables/variables.index", "assets.extra/x"}
    assert (tmp_path / "to" / "assets.extra" / "x").read_text() == "assets.extra/x"
    with pytest.raises(FileNotFoundError, match="none holds no files"):
        copy_folder(f"{place}/none", f"{place}/to")


def test_a_killed_writer_leaves_a_draft_that_is_removed(tmp_path):
    script = """
import os, sys
from apache_beam.io.filesystems import FileSystems
from hslm_tf.beam.files import write_file
FileSystems.rename = lambda *names: os._exit(9)
write_file(sys.argv[1], b"content")
"""
    path = tmp_path / "shards" / "one.bin"
    assert subprocess.run([sys.executable, "-c", script, str(path)]).returncode == 9
    assert len(os.listdir(path.parent)) == 1 and not path.exists()
    write_file(str(path), b"kept")
    remove_drafts(str(tmp_path))
    assert os.listdir(path.parent) == ["one.bin"]
    shutil.rmtree(path.parent)
    remove_drafts(str(tmp_path))


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
