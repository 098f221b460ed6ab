"""A folder with one `.npz` or `.npy` file per image, as today's detectors write it."""

import math
import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.image import Image, Part
from hslm_tf.data.npy import map_array, read_header
from hslm_tf.data.npz import BROKEN, read_member

_FEATURE_KEYS = ("x", "features", "feat", "feature")
_BOX_KEYS = ("bbox", "boxes")
_COUNT_KEYS = ("num_bbox", "num_boxes")
_WIDTH_KEYS = ("image_w", "img_w", "image_width")
_HEIGHT_KEYS = ("image_h", "img_h", "image_height")

# Bytes of one image; the largest detectors give 100 regions of 2,048 numbers, one megabyte.
_LARGEST = 1 << 29
# A file without features among the first is told when it is opened.
_LOOKED_AT = 3


def image_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that may be those of an image."""
    if any(folder.glob("*_ims.npy")):
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.stem
        if path.suffix not in (".npz", ".npy") or name.startswith(".") or not path.is_file():
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
    """Whether a folder is one of image files, by a look at the first few of them."""
    return any(map(_may_have_features, islice(image_files(folder).values(), _LOOKED_AT)))


def read_image_files(folder: Path) -> Iterator[Image]:
    """Reads the headers of a folder of image files."""
    for image_id, path in image_files(folder).items():
        if path.suffix == ".npy":
            array = map_array(path)
            rows, width = _checked(path, array.shape, array.dtype)
            read = partial(_read_npy, path, array.shape, array.dtype)
            yield Image(image_id, str(path), rows, width, array.dtype, False, read)
        else:
            yield _open_npz(image_id, path)


def _is_precomputed(path: Path) -> bool:
    # Boxes and counts stay behind where the file with the features is missing.
    for part in ("_boxes", "_num_regions"):
        split = path.stem.removesuffix(part)
        if split != path.stem:
            return any((path.parent / f"{split}_{end}.txt").exists() for end in ("caps", "ids"))
    return False


def _may_have_features(path: Path) -> bool:
    if path.suffix == ".npy":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, _FEATURE_KEYS) is not None
    except BROKEN:
        return True


def _open_npz(image_id: str, path: Path) -> Image:
    try:
        with zipfile.ZipFile(path) as archive:
            key = _member(archive, _FEATURE_KEYS)
            if key is None:
                held = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:20])
                raise DataError(
                    f"{path} holds {held or 'nothing'}, expected one of {', '.join(_FEATURE_KEYS)}"
                )
            with archive.open(f"{key}.npy") as file:
                shape, dtype = read_header(file, f"{path}, {key}")
            rows, width = _checked(path, shape, dtype)
            real = _number(path, archive, _COUNT_KEYS, rows)
            if not (1 <= real <= rows and real == int(real)):
                raise DataError(f"{path}: num_bbox is {real:g}, expected 1 to {rows}")
            sides = [_number(path, archive, keys, 1) for keys in (_WIDTH_KEYS, _HEIGHT_KEYS)]
            with np.errstate(over="ignore"):
                size = np.array(sides).astype(np.float32)
            if not all(0 < side < float("inf") for side in size):
                raise DataError(f"{path}: the image is {size[0]:g} x {size[1]:g}")
            boxes = _member(archive, _BOX_KEYS)
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path} cannot be read as .npz: {error}") from error
    shapes = {"regions": (key, rows, width), "boxes": (boxes, rows, 4)}
    read = partial(_read_npz, path, shapes, int(real), np.tile(size, 2))
    return Image(image_id, str(path), int(real), width, dtype, boxes is not None, read)


def _read_npz(
    path: Path,
    shapes: dict[Part, tuple[str, int, int]],
    num_regions: int,
    corners: np.ndarray,
    part: Part,
) -> np.ndarray:
    key, *shape = shapes[part]
    try:
        with zipfile.ZipFile(path) as archive:
            array = read_member(archive, key, str(path), _LARGEST)
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if array.ndim != 2 or array.shape[1] != shape[1] or len(array) < num_regions:
        raise DataError(f"{path}: {key} has shape {array.shape}, expected {tuple(shape)}")
    array = array[:num_regions]
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise DataError(f"{path}: {key} holds NaN or infinity, or no numbers")
    return array / corners if part == "boxes" else array


def _read_npy(path: Path, shape: tuple[int, ...], dtype: np.dtype, part: Part) -> np.ndarray:
    array = np.asarray(map_array(path))
    if array.shape != shape or array.dtype != dtype:
        raise DataError(
            f"{path}: the features have shape {array.shape}, expected {shape}, which they had when "
            "the file was opened"
        )
    if not np.isfinite(array).all():
        raise DataError(f"{path}: the features hold NaN or infinity")
    return array


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
