"""A folder with one `.npz` or `.npy` file per image, as today's detectors write it."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.image import Image, Part
from hslm_tf.data.npy import BROKEN_NPZ, map_array, read_header, read_member
from hslm_tf.data.regular_file import regular_file

_FEATURE_KEYS = ("x", "features", "feat", "feature")
_BOX_KEYS = ("bbox", "boxes")
_COUNT_KEYS = ("num_bbox", "num_boxes")
_WIDTH_KEYS = ("image_w", "img_w", "image_width")
_HEIGHT_KEYS = ("image_h", "img_h", "image_height")

# Bytes of one image; the largest detectors give 100 regions of 2,048 numbers, one megabyte.
_LARGEST = 1 << 29
# A file without features is only an error when it stands behind some that have them.
_LOOKED_AT = 3


def image_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that may be those of an image, by id: the name without the ending."""
    if any(folder.glob("*_ims.npy")):
        return {}
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.stem
        if path.suffix not in (".npz", ".npy") or name.startswith(".") or not path.is_file():
            continue
        # Some tools write `NAME_info.npy`, a pickle, beside `NAME.npy`.
        if name.endswith("_info") and name.removesuffix("_info") in files:
            continue
        if _is_precomputed(path):
            continue
        if name in files:
            raise DataError(f"{path} and {files[name].name} are of the same image: keep one")
        files[name] = path
    return files


def _is_precomputed(path: Path) -> bool:
    # Boxes and counts stay behind where the file with the features is missing.
    for part in ("_boxes", "_num_regions"):
        split = path.stem.removesuffix(part)
        if split != path.stem:
            return any((path.parent / f"{split}_{end}.txt").exists() for end in ("caps", "ids"))
    return False


def has_image_files(folder: Path) -> bool:
    """Whether a folder is one of image files, by a look at the first few of them."""
    return any(map(_may_have_features, islice(image_files(folder).values(), _LOOKED_AT)))


def _may_have_features(path: Path) -> bool:
    if path.suffix == ".npy":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, _FEATURE_KEYS) is not None
    except BROKEN_NPZ:
        return True


def read_image_files(folder: Path) -> Iterator[Image]:
    """Reads the headers of a folder of image files, in the order of their names."""
    files = image_files(folder)
    keys = _FEATURE_KEYS if has_image_files(folder) else [_only_matrix(next(iter(files.values())))]
    for image_id, path in files.items():
        if path.suffix == ".npy":
            yield _open_npy(image_id, path)
        else:
            yield _open_npz(image_id, path, keys)


def _only_matrix(path: Path) -> str:
    """The array that must be the features, whatever its name."""
    matrices = []
    with _opened(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        for name in names:
            # Others may be pickles.
            with suppress(DataError), archive.open(f"{name}.npy") as file:
                if len(read_header(file, name)[0]) == 2 and name not in _BOX_KEYS:
                    matrices.append(name)
    if len(matrices) != 1:
        raise DataError(
            f"{path} holds {', '.join(names[:20]) or 'nothing'}, expected the features as one of "
            f"{', '.join(_FEATURE_KEYS)}, or as the only array of two axes beside the boxes"
        )
    return matrices[0]


def _open_npy(image_id: str, path: Path) -> Image:
    array = map_array(path)
    shape, dtype = array.shape, array.dtype
    _check_features(path, shape, dtype)

    def read(part: Part) -> np.ndarray:
        array = np.asarray(map_array(path))
        if array.shape != shape or array.dtype != dtype:
            raise DataError(
                f"{path}: the features have shape {array.shape}, expected {shape}, which they had "
                "when the file was opened"
            )
        return array

    return Image(image_id, str(path), *shape, dtype, False, read)


def _open_npz(image_id: str, path: Path, keys: Sequence[str]) -> Image:
    with _opened(path) as archive:
        key = _member(archive, keys)
        if key is None:
            held = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:20])
            raise DataError(f"{path} holds {held or 'nothing'}, expected one of {', '.join(keys)}")
        with archive.open(f"{key}.npy") as file:
            shape, dtype = read_header(file, f"{path}, {key}")
        _check_features(path, shape, dtype)
        rows, width = shape
        count = _number(path, archive, _COUNT_KEYS, rows)
        if not (1 <= count <= rows and count == int(count)):
            raise DataError(f"{path}: num_bbox is {count:g}, expected 1 to {rows}")
        sides = [_number(path, archive, keys, 1) for keys in (_WIDTH_KEYS, _HEIGHT_KEYS)]
        with np.errstate(over="ignore"):
            size = np.array(sides).astype(np.float32)
        if not all(0 < side < math.inf for side in size):
            raise DataError(f"{path}: the image is {size[0]:g} x {size[1]:g}, expected more than 0")
        box_key = _member(archive, _BOX_KEYS)
    members = {"regions": (key, shape), "boxes": (box_key, (rows, 4))}
    read = partial(_read_npz, path, members, int(count), np.tile(size, 2))
    return Image(image_id, str(path), int(count), width, dtype, box_key is not None, read)


def _read_npz(
    path: Path,
    members: dict[Part, tuple[str, tuple[int, int]]],
    count: int,
    corners: np.ndarray,
    part: Part,
) -> np.ndarray:
    key, shape = members[part]
    with _opened(path) as archive:
        array = read_member(archive, key, str(path), _LARGEST)
    if array.ndim != 2 or array.shape[1] != shape[1] or len(array) < count:
        raise DataError(f"{path}: {key} has shape {array.shape}, expected {shape}")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path}: {key} is {array.dtype}, expected numbers")
    return array[:count] / corners if part == "boxes" else array[:count]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(regular_file(path)) as archive:
            yield archive
    except DataError:
        raise
    except BROKEN_NPZ as error:
        raise DataError(f"{path} cannot be read as .npz: {error}") from error


def _check_features(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or 0 in shape or dtype.kind != "f" or dtype.itemsize > 8:
        raise DataError(
            f"{path}: the features are {dtype} of shape {shape}, expected floating point of two "
            "axes: regions, features"
        )
    if math.prod(shape) * dtype.itemsize > _LARGEST:
        raise DataError(
            f"{path}: the features of one image have shape {shape}, more than {_LARGEST} bytes"
        )


def _member(archive: zipfile.ZipFile, keys: Sequence[str]) -> str | None:
    names = set(archive.namelist())
    return next((key for key in keys if f"{key}.npy" in names), None)


def _number(path: Path, archive: zipfile.ZipFile, keys: Sequence[str], default: float) -> float:
    key = _member(archive, keys)
    if key is None:
        return default
    with archive.open(f"{key}.npy") as file:
        shape, dtype = read_header(file, f"{path}, {key}")
        if shape not in ((), (1,)) or dtype.kind not in "iuf":
            raise DataError(f"{path}: {key} is {dtype} of shape {shape}, expected a number")
        return float(np.frombuffer(file.read(dtype.itemsize), dtype)[0])
