import os
import shutil
import subprocess
import sys

import pytest
from apache_beam.io.filesystems import FileSystems

from hslm_tf.beam.files import (
    copy_folder,
    file_sizes,
    is_local,
    read_file,
    remove_drafts,
    write_file,
)
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
