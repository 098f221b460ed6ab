"""A folder with one `.npz` or `.npy` file per image, as today's detectors write it."""

import math
import zipfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import map_array, read_header
from hslm_tf.data.npz import BROKEN, read_member
from hslm_tf.data.stores.store import Images, Store

FEATURE_KEYS = ("x", "features", "feat", "feature")
BOX_KEYS = ("bbox", "boxes")
COUNT_KEYS = ("num_bbox", "num_boxes")
WIDTH_KEYS = ("image_w", "img_w", "image_width")
HEIGHT_KEYS = ("image_h", "img_h", "image_height")

# Bytes of one image; the largest detectors give 100 regions of 2,048 numbers, one megabyte.
_LARGEST = 1 << 29
# A file without features among the first is told when it is opened.
_LOOKED_AT = 3


class ImageFile(NamedTuple):
    """What the headers in one file say.

    Attributes:
        path: the file.
        num_regions: how many regions are real.
        width: numbers per region.
        dtype: type of the features.
        size: width and height that boxes are divided by; 1 where the file has none.
        has_boxes: whether it has boxes.
    """

    path: Path
    num_regions: int
    width: int
    dtype: np.dtype
    size: tuple[float, float]
    has_boxes: bool


class ImageFileRows:
    """Features or boxes of images, each in a file of its own, as an array `[rows, N, width]`.

    Args:
        files: the files that make up the rows, in order.
        keys: names that the array may have in a `.npz`.
        width: numbers per region.
        dtype: type of the numbers.
    """

    def __init__(
        self, files: Sequence[ImageFile], keys: tuple[str, ...], width: int, dtype: np.dtype
    ) -> None:
        self._files = files
        self._keys = keys
        self.shape = (len(files), max(file.num_regions for file in files), width)
        self.dtype = dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            `[b, N, width]` of `dtype`, zero beyond the regions of an image.

        Raises:
            DataError: if a file is damaged, or holds NaN or infinity.
        """
        values = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        for value, row in zip(values, rows, strict=True):
            file = self._files[row]
            array = _read_array(file.path, self._keys)[: file.num_regions]
            if array.shape != (file.num_regions, self.shape[2]):
                raise DataError(
                    f"{file.path}: {self._keys[0]} has shape {array.shape}, expected "
                    f"{(file.num_regions, self.shape[2])}"
                )
            if not np.isfinite(array).all():
                raise DataError(f"{file.path}: {self._keys[0]} holds NaN or infinity")
            if self._keys == BOX_KEYS:
                array = array / np.float32(file.size * 2)
            value[: file.num_regions] = array
        return values


def _is_precomputed(path: Path) -> bool:
    # Boxes and counts stay behind where the file with the features is missing.
    for part in ("_boxes", "_num_regions"):
        split = path.stem.removesuffix(part)
        if split != path.stem:
            return any((path.parent / f"{split}_{end}.txt").exists() for end in ("caps", "ids"))
    return False


def image_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that may be those of an image.

    Files of the precomputed format, and the `_info.npy` that some tools write beside the features,
    do not count.

    Args:
        folder: the folder.

    Returns:
        From an id, which is the name without the ending, to its file, sorted by name.

    Raises:
        DataError: if an id has two files.
    """
    if any(folder.glob("*_ims.npy")):
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.stem
        if path.suffix not in (".npz", ".npy") or name.startswith("."):
            continue
        if name.endswith("_info") and name.removesuffix("_info") in found:
            continue
        if _is_precomputed(path):
            continue
        if name in found:
            raise DataError(f"{path} and {found[name].name} are of the same image: keep one")
        found[name] = path
    return found


def has_image_files(folder: Path) -> bool:
    """Whether a folder is one of image files, by a look at the first few of them.

    Args:
        folder: the folder.

    Returns:
        True for a `.npy`, or for a `.npz` with features in it, or one that cannot be opened.

    Raises:
        DataError: if an id has two files.
    """
    return any(map(_may_have_features, islice(image_files(folder).values(), _LOOKED_AT)))


def _may_have_features(path: Path) -> bool:
    if path.suffix == ".npy":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, FEATURE_KEYS) is not None
    except BROKEN:
        return True


def open_image_files(folder: Path) -> Store:
    """Opens a folder of image files; their headers are read when images are selected.

    Args:
        folder: the folder.

    Returns:
        The store; its ids are names of files. Box corners are divided by the size of the image
        where the file says it.

    Raises:
        DataError: if an id has two files, or there is none.
    """
    paths = image_files(folder)
    if not paths:
        raise DataError(f"{folder} has no .npz or .npy file of an image")
    ids = list(paths)
    suffixes = sorted({path.suffix for path in paths.values()})

    def select(places: np.ndarray) -> Images:
        files = [_measure(paths[ids[place]]) for place in places]
        first = files[0]
        for file in files:
            if file.width != first.width or file.has_boxes != first.has_boxes:
                raise DataError(
                    f"{file.path} has {_described(file)}, but {first.path} {_described(first)}"
                )
        num_regions = np.array([file.num_regions for file in files], np.int32)
        dtype = np.result_type(*{file.dtype for file in files})
        boxes = ImageFileRows(files, BOX_KEYS, 4, np.dtype(np.float32))
        return Images(
            regions=ImageFileRows(files, FEATURE_KEYS, first.width, dtype),
            rows=np.arange(len(files)),
            boxes=boxes if first.has_boxes else None,
            num_regions=None if (num_regions == num_regions[0]).all() else num_regions,
        )

    return Store(
        source=str(folder),
        kind="a file per image",
        recognised_by=f"files ending in {' and '.join(suffixes)}",
        count=len(ids),
        ids=ids,
        ordered=False,
        select=select,
    )


def _described(file: ImageFile) -> str:
    return f"{file.width} numbers a region {'with' if file.has_boxes else 'without'} boxes"


def _measure(path: Path) -> ImageFile:
    if path.suffix == ".npy":
        array = map_array(path)
        shape = _checked(path, array.shape, array.dtype)
        return ImageFile(path, *shape, array.dtype, (1.0, 1.0), False)
    try:
        with zipfile.ZipFile(path) as archive:
            key = _member(archive, FEATURE_KEYS)
            if key is None:
                held = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:20])
                raise DataError(
                    f"{path} holds {held or 'nothing'}, expected one of {', '.join(FEATURE_KEYS)}"
                )
            with archive.open(f"{key}.npy") as file:
                shape, dtype = read_header(file, f"{path}, {key}")
            rows, width = _checked(path, shape, dtype)
            real = _number(path, archive, COUNT_KEYS, rows)
            if real != int(real) or not 1 <= real <= rows:
                raise DataError(f"{path}: num_bbox is {real:g}, expected 1 to {rows}")
            sides = (_number(path, archive, keys, 1) for keys in (WIDTH_KEYS, HEIGHT_KEYS))
            size = tuple(sides)
            if not all(0 < side < float("inf") for side in size):
                raise DataError(f"{path}: the image is {size[0]:g} x {size[1]:g}")
            boxes = _member(archive, BOX_KEYS)
            return ImageFile(path, int(real), width, dtype, size, boxes is not None)
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path} cannot be read as .npz: {error}") from error


def _checked(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    if len(shape) != 2 or 0 in shape or dtype.kind != "f" or dtype.itemsize > 8:
        raise DataError(
            f"{path}: the features are {dtype} of shape {shape}, expected floating point of two "
            "axes: regions, features"
        )
    if math.prod(shape) * dtype.itemsize > _LARGEST:
        raise DataError(
            f"{path}: the features of one image have shape {shape}, more than {_LARGEST} bytes"
        )
    return shape


def _member(archive: zipfile.ZipFile, keys: tuple[str, ...]) -> str | None:
    names = set(archive.namelist())
    return next((key for key in keys if f"{key}.npy" in names), None)


def _number(path: Path, archive: zipfile.ZipFile, keys: tuple[str, ...], default: float) -> float:
    key = _member(archive, keys)
    if key is None:
        return default
    with archive.open(f"{key}.npy") as file:
        shape, dtype = read_header(file, f"{path}, {key}")
        if shape not in ((), (1,)) or dtype.kind not in "iuf":
            raise DataError(f"{path}: {key} is {dtype} of shape {shape}, expected a number")
        return float(np.frombuffer(file.read(dtype.itemsize), dtype)[0])


def _read_array(path: Path, keys: tuple[str, ...]) -> np.ndarray:
    if path.suffix == ".npy":
        return map_array(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return read_member(archive, _member(archive, keys), str(path))
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path} cannot be read: {error}") from error
