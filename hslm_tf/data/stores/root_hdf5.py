"""HDF5 files of visual question answering: all images at the root, no splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.hdf5_rows import HDF5Rows, dataset_at, open_hdf5, open_rows, read_strings
from hslm_tf.data.stores.store import Images, Store
from hslm_tf.data.text_lines import read_lines

FEATURE_KEYS = ("image_features", "features")
BOX_KEYS = ("image_bb", "boxes")
SPATIAL_KEYS = ("spatial_features",)
RANGE_KEYS = ("pos_boxes",)
COUNT_KEYS = ("num_boxes", "num_bbox")
ID_KEYS = ("image_ids", "image_id", "img_ids", "ids")
WIDTH_KEYS = ("widths", "image_w")
HEIGHT_KEYS = ("heights", "image_h")
# With features alone, the axis that is no longer than this is the one of the regions.
_MOST_REGIONS = 100


class SwappedRows:
    """Rows `[rows, F, N]` read as `[rows, N, F]`.

    Args:
        rows: array-like.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.dtype = rows.dtype
        self.shape = (rows.shape[0], rows.shape[2], rows.shape[1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows; see `HDF5Rows`."""
        return self._rows[rows].swapaxes(1, 2)


class RangeRows:
    """Rows of which each is a range of the rows `[total, width]` of another array.

    Args:
        rows: array-like.
        ranges: int `[b, 2]`, first row and one past the last of each image.
    """

    def __init__(self, rows: Any, ranges: np.ndarray) -> None:
        self._rows = rows
        self._ranges = ranges
        self.dtype = rows.dtype
        longest = int((ranges[:, 1] - ranges[:, 0]).max())
        self.shape = (len(ranges), longest, rows.shape[1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows; zero beyond the regions of an image."""
        values = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        for value, row in zip(values, rows, strict=True):
            first, last = self._ranges[row]
            value[: last - first] = self._rows[np.arange(first, last)]
        return values


class BoxRows:
    """Boxes `[rows, N, 4]` as parts of the image.

    Args:
        rows: array-like `[rows, N, at least 4]`.
        sizes: `[rows, 2]` width and height that they are divided by, or None.
    """

    def __init__(self, rows: Any, sizes: np.ndarray | None) -> None:
        self._rows = rows
        self._sizes = sizes
        self.dtype = rows.dtype
        self.shape = (*rows.shape[:2], 4)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows; see `HDF5Rows`."""
        boxes = np.asarray(self._rows[rows][..., :4], np.float32)
        return boxes if self._sizes is None else boxes / np.tile(self._sizes[rows, None], 2)


def is_root_hdf5(path: Path) -> bool:
    """Whether an HDF5 file holds the features of all images at its root.

    Args:
        path: the file.

    Returns:
        Whether one of the names that such files use is there.

    Raises:
        DataError: if it is not HDF5.
    """
    with open_hdf5(path) as file:
        return _key(file, FEATURE_KEYS) is not None


def open_root_hdf5(path: Path) -> Store:
    """Opens a file of the kind that bottom-up-attention-vqa and its followers write.

    Features are `[n, N, F]`, `[n, F, N]`, or `[regions of all images, F]` with the ranges of the
    images in `pos_boxes`. Boxes are the first four of `spatial_features`, which are parts of the
    image, else `image_bb`, divided by `widths` and `heights` where they are there. Ids are a
    dataset, or one a line in a text file beside, `NAME_ids.txt` for `NAME.hdf5`; a pickle is never
    opened.

    Args:
        path: the file.

    Returns:
        The store, in the order of the rows.

    Raises:
        DataError: if the file is damaged, or its parts do not fit each other.
    """
    with open_hdf5(path) as file:
        features = dataset_at(file, _required(file, path))
        name, shape = features.name[1:], features.shape
        ranges = _ranges(file, path, shape)
        count = shape[0] if ranges is None else len(ranges)
        sizes = _sizes(file, path, count)
        num_regions = _numbers(file, COUNT_KEYS, path, count)
        ids = _ids(file, path, count)
        box_key = _box_key(file, sizes)
        swapped = ranges is None and _is_swapped(file, shape, box_key)
    regions: Any = open_rows(path, name)
    boxes: Any = None if box_key is None else open_rows(path, box_key)
    if ranges is not None:
        regions = RangeRows(regions, ranges)
        boxes = boxes and RangeRows(_two_axes(boxes, path, box_key), ranges)
        num_regions = (ranges[:, 1] - ranges[:, 0]).astype(np.int32)
    elif swapped:
        regions, boxes = SwappedRows(regions), boxes and SwappedRows(boxes)
    if boxes is not None:
        if len(boxes.shape) != 3 or boxes.shape[2] < 4:
            raise DataError(f"{path}:/{box_key} has shape {boxes.shape}, expected 4 for each box")
        boxes = BoxRows(boxes, None if box_key in SPATIAL_KEYS else sizes)
    axes = "regions of all images, with pos_boxes" if ranges is not None else f"shape {shape}"
    return Store(
        source=f"{path}:/{name}",
        kind="HDF5 without splits",
        recognised_by=f"{name} at the root, {axes}",
        count=count,
        ids=ids,
        ordered=True,
        select=lambda places: Images(regions, np.asarray(places, np.int64), boxes, num_regions),
    )


def _key(file: h5py.File, keys: tuple[str, ...]) -> str | None:
    # Not `file.get`: it takes what is damaged for what is not there.
    there = (key for key in keys if key in file)
    return next((key for key in there if _is_dataset(file, key)), None)


def _is_dataset(file: h5py.File, key: str) -> bool:
    # Links to other files are not followed; `dataset_at` refuses them.
    external = isinstance(file.get(key, getlink=True), h5py.ExternalLink)
    return external or isinstance(file[key], h5py.Dataset)


def _required(file: h5py.File, path: Path) -> str:
    key = _key(file, FEATURE_KEYS)
    if key is None:
        raise DataError(
            f"{path} has none of {', '.join(FEATURE_KEYS)} at its root; it holds "
            f"{', '.join(file) or 'nothing'}"
        )
    return key


def _ranges(file: h5py.File, path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    key = _key(file, RANGE_KEYS)
    if key is None or len(shape) != 2:
        if len(shape) != 3 or 0 in shape:
            raise DataError(
                f"{path}: the features have shape {shape}, expected [images, regions, features], "
                "or two axes and the ranges of the images in pos_boxes"
            )
        return None
    values = dataset_at(file, key)
    if values.dtype.kind not in "iu" or values.ndim != 2 or values.shape[1] != 2:
        raise DataError(f"{path}:/{key} is {values.dtype} of shape {values.shape}, expected [n, 2]")
    ranges = values[()].astype(np.int64)
    wrong = np.flatnonzero(
        (ranges[:, 0] < 0) | (ranges[:, 1] <= ranges[:, 0]) | (ranges[:, 1] > shape[0])
    )
    if wrong.size or not len(ranges):
        found = f"row {wrong[0]} is {ranges[wrong[0]].tolist()}" if wrong.size else "it is empty"
        raise DataError(f"{path}:/{key}: {found}, expected ranges of the {shape[0]} rows")
    return ranges


def _numbers(file: h5py.File, keys: tuple[str, ...], path: Path, count: int) -> np.ndarray | None:
    key = _key(file, keys)
    if key is None:
        return None
    values = dataset_at(file, key)
    if values.dtype.kind not in "iuf" or values.size != count:
        raise DataError(
            f"{path}:/{key} is {values.dtype} of shape {values.shape}, expected a number for each "
            f"of the {count} images"
        )
    return values[()].reshape(count)


def _sizes(file: h5py.File, path: Path, count: int) -> np.ndarray | None:
    sides = [_numbers(file, keys, path, count) for keys in (WIDTH_KEYS, HEIGHT_KEYS)]
    if any(side is None for side in sides):
        return None
    sizes = np.stack(sides, axis=1).astype(np.float32)
    wrong = np.flatnonzero(~((sizes > 0) & np.isfinite(sizes)).all(axis=1))
    if wrong.size:
        width, height = sizes[wrong[0]]
        raise DataError(f"{path}, row {wrong[0]}: the image is {width:g} x {height:g}")
    return sizes


def _box_key(file: h5py.File, sizes: np.ndarray | None) -> str | None:
    orders = (BOX_KEYS, SPATIAL_KEYS) if sizes is not None else (SPATIAL_KEYS, BOX_KEYS)
    return _key(file, orders[0]) or _key(file, orders[1])


def _is_swapped(file: h5py.File, shape: tuple[int, ...], box_key: str | None) -> bool:
    boxes = None if box_key is None else dataset_at(file, box_key).shape
    if boxes is not None and len(boxes) == 3 and shape[1] != shape[2]:
        return boxes[2] == shape[2] and boxes[1] != shape[1]
    return shape[2] <= _MOST_REGIONS < shape[1]


def _two_axes(boxes: HDF5Rows, path: Path, key: str) -> HDF5Rows:
    if len(boxes.shape) != 2:
        raise DataError(f"{path}:/{key} has shape {boxes.shape}, expected two axes")
    return boxes


def _ids(file: h5py.File, path: Path, count: int) -> Sequence[str] | None:
    key = _key(file, ID_KEYS)
    beside = path.with_name(f"{path.stem}_ids.txt")
    if key is not None:
        values = dataset_at(file, key)
        if values.dtype.kind in "iu" and values.ndim == 1:
            ids = [str(value) for value in values[()]]
        else:
            ids = read_strings(values, f"{path}:/{key}")
        place = f"{path}:/{key}"
    elif beside.is_file():
        ids, place = read_lines(beside), str(beside)
    else:
        return None
    if len(ids) != count or len(set(ids)) < count:
        raise DataError(
            f"{place} has {len(ids)} ids, {len(set(ids))} of them different, expected {count}"
        )
    return ids


def advice_on_ids(path: Path) -> str:
    """What to do where a file has no ids.

    Args:
        path: the HDF5 file.

    Returns:
        A sentence, with the command that makes a text file of a pickle of ids that lies beside.
    """
    target = path.with_name(f"{path.stem}_ids.txt")
    pickles = sorted(path.parent.glob(f"{path.stem}*imgid2idx.pkl"))
    advice = f"write them to {target}, one a line in the order of the rows"
    if not pickles:
        return advice
    return (
        f"{advice}. {pickles[0].name} is not opened, because a pickle can run code; where you "
        f"trust it: python -c \"import pickle; rows = pickle.load(open('{pickles[0]}', 'rb')); "
        f"open('{target}', 'w').writelines(f'{{i}}\\n' for i in sorted(rows, key=rows.get))\""
    )
