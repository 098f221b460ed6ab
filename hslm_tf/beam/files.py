"""Files under paths and under addresses such as `gs://bucket/folder`, by Beam's file systems."""

import uuid
from contextlib import suppress

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hslm_tf.data.atomic_write import naming

_DRAFT = "draft-"


def is_local(path: str) -> bool:
    """Whether a path lies in the file system of this machine."""
    return FileSystems.get_scheme(path) is None


def read_file(path: str) -> bytes:
    """Reads a file."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


def write_file(path: str, content: bytes) -> None:
    """Writes a file in one piece: nobody ever sees a part of it."""
    folder, name = FileSystems.split(path)
    # A cluster may run the same work twice at the same time, so every draft has its own name.
    draft = FileSystems.join(folder, f"{_DRAFT}{uuid.uuid4().hex}-{name}")
    try:
        with naming(path):
            with FileSystems.create(draft, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(content)
            FileSystems.rename([draft], [path])
    except BaseException:
        with suppress(Exception):
            FileSystems.delete([draft])
        raise


def file_sizes(folder: str) -> dict[str, int]:
    """Lists a folder and the folders below it."""
    try:
        (found,) = FileSystems.match([f"{folder}/**"])
    except BeamIOError:
        return {}
    return {file.path: file.size_in_bytes for file in found.metadata_list}


def remove_drafts(folder: str) -> None:
    """Removes what writers left that were killed."""
    drafts = [path for path in file_sizes(folder) if FileSystems.split(path)[1].startswith(_DRAFT)]
    if drafts:
        FileSystems.delete(drafts)


def copy_folder(source: str, target: str) -> None:
    """Copies all files of a folder and of the folders below it."""
    paths = file_sizes(source)
    if not paths:
        raise FileNotFoundError(f"{source} holds no files")
    for path in paths:
        below = path[len(source.rstrip("/")) + 1 :]
        write_file(FileSystems.join(target, *below.split("/")), read_file(path))
