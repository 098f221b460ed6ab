"""Lists the photographs of a folder, of a text file, or of a file of captions."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import check_split, stays_inside
from hslm_tf.data.formats.captions import (
    CaptionedImages,
    check_captions_per_image,
    find_captions,
)
from hslm_tf.data.formats.karpathy import is_karpathy, read_karpathy
from hslm_tf.data.text_lines import line_place, read_lines

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2")


@dataclass(frozen=True)
class Photograph:
    """A photograph that gets region features; its file need not exist."""

    id: str
    path: Path
    captions: tuple[str, ...] = ()


def list_photographs(
    where: Path,
    images: Path | None,
    split: str,
    *,
    restval: bool = False,
    captions_per_image: int | None = None,
) -> dict[str, list[Photograph]]:
    """Lists photographs, by split."""
    check_captions_per_image(captions_per_image)
    if not where.exists():
        raise DataError(f"{where}: there is no such folder or file")
    if images is not None and not images.is_dir():
        raise DataError(f"{images}: there is no such folder")
    if where.is_dir():
        if images is not None:
            raise DataError(f"{where} is a folder of photographs already: no other is named")
        return {check_split(split, "--split"): _of_folder(where)}
    folder = images or where.parent
    captioned = find_captions(where, restval, captions_per_image)
    if captioned is None:
        return {check_split(split, "--split"): _of_list(where, folder)}
    entries = read_karpathy(where).images if is_karpathy(where) else ()
    folders = {image.file_name: image.folder for image in entries if image.folder}
    for place in {*folders.values()}:
        _checked_path(place, str(where))
    finder = _Finder(folder, folders)
    return {
        check_split(name, str(where)): _of_captions(captioned.read(name), finder)
        for name in captioned.splits
    }


def _of_captions(images: CaptionedImages, finder: "_Finder") -> list[Photograph]:
    captions: Sequence[Sequence[str]] = images.captions or [()] * len(images.names)
    photographs = []
    for row, (name, of_image) in enumerate(zip(images.names, captions, strict=True)):
        _checked_path(name, images.place(row))
        if images.captions and not of_image:
            raise DataError(f"{images.place(row)}: {name!r} has no caption, though others have")
        photographs.append(Photograph(name, finder.path(name), tuple(of_image)))
    return photographs


def _of_folder(folder: Path) -> list[Photograph]:
    photographs = [
        Photograph(_checked_id(path.relative_to(folder).as_posix(), str(folder)), path)
        for path in _files(folder)
    ]
    if not photographs:
        raise DataError(f"{folder} holds no photograph: no file ends in {' '.join(SUFFIXES)}")
    return sorted(photographs, key=lambda photograph: photograph.id)


def _of_list(path: Path, folder: Path) -> list[Photograph]:
    names = read_lines(path)
    if not names:
        raise DataError(f"{path} names no photograph")
    first_with: dict[str, int] = {}
    for row, name in enumerate(names):
        _checked_path(name, line_place(path, row))
        if first_with.setdefault(name, row) != row:
            first = line_place(path, first_with[name])
            raise DataError(f"{line_place(path, row)}: {name!r} is named already, see {first}")
    return [Photograph(name, folder / name) for name in names]


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: the folder cannot be read: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place) / name


def _checked_id(name: str, place: str) -> str:
    if len(name.splitlines()) != 1 or name != name.strip() or "\t" in name or "\0" in name:
        raise DataError(f"{place}: the name {name!r} cannot be an id, which is one line of text")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: the name {name!r} is not valid Unicode: {error}") from error
    return name


def _checked_path(name: str, place: str) -> str:
    if not stays_inside(_checked_id(name, place)):
        raise DataError(f"{place}: the name {name!r} leaves the folder of the photographs")
    return name


class _Finder:
    """Finds photographs by name: in a folder, in the one that a JSON names, or below."""

    def __init__(self, folder: Path, folders: Mapping[str, str]) -> None:
        self._folder, self._folders = folder, folders

    def path(self, name: str) -> Path:
        direct = self._folder / name
        for path in (direct, self._folder / self._folders.get(name, "") / name):
            # Unlike `Path.exists`, this takes names that are too long for a file.
            if os.path.exists(path):
                return path
        paths = self._paths.get(name, [])
        if len(paths) > 1:
            raise DataError(
                f"{self._folder} holds {name!r} more than once: {paths[0]} and {paths[1]}"
            )
        return paths[0] if paths else direct

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        paths: dict[str, list[Path]] = {}
        for path in _files(self._folder):
            paths.setdefault(path.name, []).append(path)
        return paths
