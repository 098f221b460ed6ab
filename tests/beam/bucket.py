"""A file system behind addresses, `bucket://folder/file`, with its files in a local folder."""

from collections.abc import Callable
from pathlib import Path

from apache_beam.io.filesystem import FileMetadata, FileSystem
from apache_beam.io.localfilesystem import LocalFileSystem

_SCHEME = "bucket"


def address(folder: Path) -> str:
    """The address under which Beam finds a local folder, `folder` itself included."""
    return f"{_SCHEME}:/{folder}"


def _local(name: str | list[str]) -> str | list[str]:
    return name.removeprefix(f"{_SCHEME}:/") if isinstance(name, str) else [*map(_local, name)]


def _passed_on(method: str, places: int = 1) -> Callable:
    """A method of the local file system that takes addresses in place of paths."""

    def call(self, *args, **kwargs):
        return getattr(self.local, method)(*map(_local, args[:places]), *args[places:], **kwargs)

    return call


class Bucket(FileSystem):
    """Passes everything on to the local file system, under other names."""

    def __init__(self, pipeline_options):
        super().__init__(pipeline_options)
        self.local = LocalFileSystem(pipeline_options)

    @classmethod
    def scheme(cls):
        return _SCHEME

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for file in self.local._list(_local(dir_or_prefix)):
            yield FileMetadata(address(file.path), file.size_in_bytes, 0)

    mkdirs, create, open = _passed_on("mkdirs"), _passed_on("create"), _passed_on("open")
    copy, rename, delete = _passed_on("copy", 2), _passed_on("rename", 2), _passed_on("delete")
    exists, size, checksum = _passed_on("exists"), _passed_on("size"), _passed_on("checksum")
    last_updated, metadata = _passed_on("last_updated"), _passed_on("metadata")
