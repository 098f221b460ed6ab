"""A file system behind addresses, `bucket://folder/file`, with its files in a local folder."""

from pathlib import Path

from apache_beam.io.filesystem import FileMetadata, FileSystem
from apache_beam.io.localfilesystem import LocalFileSystem

_SCHEME = "bucket"


def address(folder: Path) -> str:
    """The address under which Beam finds a local folder, `folder` itself included."""
    return f"{_SCHEME}:/{folder}"


def _path(name: str) -> str:
    return name.removeprefix(f"{_SCHEME}:/")


class Bucket(FileSystem):
    """Passes everything on to the local file system, under other names."""

    def __init__(self, pipeline_options):
        super().__init__(pipeline_options)
        self._local = LocalFileSystem(pipeline_options)

    @classmethod
    def scheme(cls):
        return _SCHEME

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        self._local.mkdirs(_path(path))

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for file in self._local._list(_path(dir_or_prefix)):
            yield FileMetadata(address(file.path), file.size_in_bytes, 0)

    def create(self, path, *args, **kwargs):
        return self._local.create(_path(path), *args, **kwargs)

    def open(self, path, *args, **kwargs):
        return self._local.open(_path(path), *args, **kwargs)

    def copy(self, sources, targets):
        self._local.copy([_path(name) for name in sources], [_path(name) for name in targets])

    def rename(self, sources, targets):
        self._local.rename([_path(name) for name in sources], [_path(name) for name in targets])

    def exists(self, path):
        return self._local.exists(_path(path))

    def size(self, path):
        return self._local.size(_path(path))

    def last_updated(self, path):
        return self._local.last_updated(_path(path))

    def checksum(self, path):
        return self._local.checksum(_path(path))

    def metadata(self, path):
        return self._local.metadata(_path(path))

    def delete(self, paths):
        self._local.delete([_path(name) for name in paths])
