"""HDF5 files of visual question answering: all images at the root, no splits."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.image import Image, Part
from hslm_tf.data.hdf5_rows import dataset_at, open_hdf5, open_rows, read_strings
from hslm_tf.data.text_lines import read_lines

_FEATURE_KEYS = ("image_features", "features")
_BOX_KEYS = ("image_bb", "boxes")
_SPATIAL_KEYS = ("spatial_features",)
_RANGE_KEYS = ("pos_boxes",)
_COUNT_KEYS = ("num_boxes", "num_bbox")
_ID_KEYS = ("image_ids", "image_id", "img_ids", "ids")
_WIDTH_KEYS = ("widths", "image_w")
_HEIGHT_KEYS = ("heights", "image_h")
# With features alone, the axis that is no longer than this is the one of the regions.
_MOST_REGIONS = 100
# Bytes of one image in float64; the largest detectors give 100 regions of 2,048 numbers.
_LARGEST = 1 << 29


class _Arrays(NamedTuple):
    """The arrays of a file that are read image by image."""

    regions: Any
    boxes: Any
    ranges: np.ndarray | None
    swapped: bool
    sizes: np.ndarray | None


def is_root_hdf5(path: Path) -> bool:
    """Whether an HDF5 file has region features at its root."""
    with open_hdf5(path) as file:
        return _key(file, _FEATURE_KEYS) is not None


def read_root_hdf5(path: Path) -> Iterator[Image]:
    """Reads what bottom-up-attention-vqa and its followers write."""
    with open_hdf5(path) as file:
        features = dataset_at(file, _required(file, path))
        name, shape = features.name[1:], features.shape
        ranges = _ranges(file, path, shape)
        count = shape[0] if ranges is None else len(ranges)
        sizes = _sizes(file, path, count)
        box_key = _box_key(file, sizes)
        swapped = ranges is None and _is_swapped(file, shape, box_key)
        longest = shape[2] if swapped else shape[-2]
        if ranges is None:
            counts = _counts(file, path, count, longest)
        else:
            counts = ranges[:, 1] - ranges[:, 0]
        ids = _ids(file, path, count)
    regions = open_rows(path, name)
    if regions.dtype.kind != "f" or regions.dtype.itemsize > 8:
        raise DataError(f"{path}:/{name} is {regions.dtype}, expected floating point")
    boxes = None if box_key is None else open_rows(path, box_key)
    if boxes is not None:
        _check_boxes(boxes, shape, swapped, f"{path}:/{box_key}")
    arrays = _Arrays(regions, boxes, ranges, swapped, None if box_key in _SPATIAL_KEYS else sizes)
    width = shape[1] if swapped else shape[-1]
    for row in range(count):
        place, number = f"{path}:/{name}, row {row}", int(counts[row])
        read = partial(_read, arrays, row, number, place)
        yield Image(
            "" if ids is None else ids[row], place, number, width, regions.dtype, bool(boxes), read
        )


def _read(arrays: _Arrays, row: int, count: int, place: str, part: Part) -> np.ndarray:
    array = getattr(arrays, part)
    if arrays.ranges is not None:
        values = array[np.arange(*arrays.ranges[row])]
    else:
        values = array[np.array([row])][0]
        values = (values.T if arrays.swapped else values)[:count]
    if part == "boxes":
        values = np.asarray(values[:, :4], np.float32)
        if arrays.sizes is not None:
            values = values / np.tile(arrays.sizes[row], 2)
    finite = np.isfinite(values)
    if not finite.all():
        region, column = np.argwhere(~finite)[0]
        what = "boxes" if part == "boxes" else "features"
        raise DataError(
            f"{place}: {what} of region {region} hold {values[region, column]} in column {column}, "
            "expected finite numbers"
        )
    return values


def _key(file: h5py.File, keys: tuple[str, ...]) -> str | None:
    # Not `file.get`: it takes what is damaged for what is not there.
    there = (key for key in keys if key in file)
    return next((key for key in there if _is_dataset(file, key)), None)


def _is_dataset(file: h5py.File, key: str) -> bool:
    # Links to other files are not followed; `dataset_at` refuses them.
    external = isinstance(file.get(key, getlink=True), h5py.ExternalLink)
    return external or isinstance(file[key], h5py.Dataset)


def _required(file: h5py.File, path: Path) -> str:
    key = _key(file, _FEATURE_KEYS)
    if key is None:
        raise DataError(
            f"{path} has none of {', '.join(_FEATURE_KEYS)} at its root; it holds "
            f"{', '.join(file) or 'nothing'}"
        )
    return key


def _ranges(file: h5py.File, path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    key = _key(file, _RANGE_KEYS)
    if key is None or len(shape) != 2:
        if len(shape) != 3 or 0 in shape:
            raise DataError(
                f"{path}: the features have shape {shape}, expected [images, regions, features], "
                "or two axes and the ranges of the images in pos_boxes"
            )
        return None
    if 0 in shape:
        raise DataError(f"{path}: the features have shape {shape}: it is empty")
    values = dataset_at(file, key)
    if values.dtype.kind not in "iu" or values.ndim != 2 or values.shape[1] != 2:
        raise DataError(f"{path}:/{key} is {values.dtype} of shape {values.shape}, expected [n, 2]")
    ranges = values[()].astype(np.int64)
    most = max(1, _LARGEST // (8 * shape[1]))
    counts = ranges[:, 1] - ranges[:, 0]
    wrong = np.flatnonzero(
        (ranges[:, 0] < 0) | (counts < 1) | (ranges[:, 1] > shape[0]) | (counts > most)
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


def _counts(file: h5py.File, path: Path, count: int, longest: int) -> np.ndarray:
    numbers = _numbers(file, _COUNT_KEYS, path, count)
    if numbers is None:
        return np.full(count, longest)
    wrong = np.flatnonzero(~((numbers >= 1) & (numbers <= longest) & (numbers % 1 == 0)))
    if wrong.size:
        raise DataError(
            f"{path}, row {wrong[0]}: {numbers[wrong[0]]} regions, expected 1 to {longest}"
        )
    return numbers


def _sizes(file: h5py.File, path: Path, count: int) -> np.ndarray | None:
    sides = [_numbers(file, keys, path, count) for keys in (_WIDTH_KEYS, _HEIGHT_KEYS)]
    if any(side is None for side in sides):
        return None
    sizes = np.stack(sides, axis=1).astype(np.float32)
    wrong = np.flatnonzero(~((sizes > 0) & np.isfinite(sizes)).all(axis=1))
    if wrong.size:
        width, height = sizes[wrong[0]]
        raise DataError(f"{path}, row {wrong[0]}: the image is {width:g} x {height:g}")
    return sizes


def _box_key(file: h5py.File, sizes: np.ndarray | None) -> str | None:
    orders = (_BOX_KEYS, _SPATIAL_KEYS) if sizes is not None else (_SPATIAL_KEYS, _BOX_KEYS)
    return _key(file, orders[0]) or _key(file, orders[1])


def _is_swapped(file: h5py.File, shape: tuple[int, ...], box_key: str | None) -> bool:
    boxes = None if box_key is None else dataset_at(file, box_key).shape
    if boxes is not None and len(boxes) == 3 and shape[1] != shape[2]:
        return boxes[2] == shape[2] and boxes[1] != shape[1]
    return shape[2] <= _MOST_REGIONS < shape[1]


def _check_boxes(boxes: Any, shape: tuple[int, ...], swapped: bool, place: str) -> None:
    if len(boxes.shape) != len(shape):
        raise DataError(
            f"{place} is {boxes.dtype} of shape {boxes.shape}, expected 4 numbers for each box of "
            f"features of shape {shape}"
        )
    *regions, numbers = np.array(boxes.shape)[[0, 2, 1]] if swapped else boxes.shape
    *expected, _ = np.array(shape)[[0, 2, 1]] if swapped else shape
    if boxes.dtype.kind not in "iuf" or regions != expected or numbers < 4:
        raise DataError(
            f"{place} is {boxes.dtype} of shape {boxes.shape}, expected 4 numbers for each box of "
            f"features of shape {shape}"
        )


def _ids(file: h5py.File, path: Path, count: int) -> Sequence[str] | None:
    key = _key(file, _ID_KEYS)
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
    if len(ids) != count or len(set(ids)) < count or not all(ids):
        raise DataError(
            f"{place} has {len(ids)} ids, {len(set(ids))} of them different, expected {count}"
        )
    return ids


def advice_on_ids(path: Path) -> str:
    """What to do where a file has no ids."""
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
