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

    # `[images, N, F]`; `[images, F, N]` where swapped; `[all regions, F]` where there are ranges.
    regions: Any
    # The same with at least 4 in place of F.
    boxes: Any
    # First row of each image and one past its last.
    ranges: np.ndarray | None
    swapped: bool
    # Width and height of each image, which boxes are divided by.
    sizes: np.ndarray | None

    def read(self, row: int, count: int, part: Part) -> np.ndarray:
        """Reads the regions or the boxes of an image."""
        array = getattr(self, part)
        if self.ranges is not None:
            values = array[np.arange(*self.ranges[row])]
        else:
            values = array[np.array([row])][0]
            values = (values.T if self.swapped else values)[:count]
        if part == "regions":
            return values
        boxes = np.asarray(values[:, :4], np.float32)
        return boxes if self.sizes is None else boxes / np.tile(self.sizes[row], 2)


def is_root_hdf5(path: Path) -> bool:
    """Whether an HDF5 file has region features at its root."""
    with open_hdf5(path) as file:
        return _find(file, _FEATURE_KEYS) is not None


def read_root_hdf5(path: Path) -> Iterator[Image]:
    """Reads what bottom-up-attention-vqa and its followers write."""
    with open_hdf5(path) as file:
        features = _find(file, _FEATURE_KEYS)
        place, shape, dtype = f"{path}:{features.name}", features.shape, features.dtype
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise DataError(f"{place} is {dtype}, expected floating point")
        if 0 in shape:
            raise DataError(f"{path}: the features have shape {shape}: it is empty")
        ranges = _ranges(file, shape)
        images = shape[0] if ranges is None else len(ranges)
        sizes = _sizes(file, images)
        # Boxes as parts of the image are preferred, unless those in pixels can be divided.
        spatial, pixels = _find(file, _SPATIAL_KEYS), _find(file, _BOX_KEYS)
        boxes = (spatial or pixels) if sizes is None else (pixels or spatial)
        swapped = ranges is None and _is_swapped(shape, boxes)
        if boxes is not None:
            _check_boxes(boxes, shape, swapped)
        if ranges is not None:
            counts = ranges[:, 1] - ranges[:, 0]
        else:
            longest = shape[2] if swapped else shape[1]
            counts = _numbers(file, _COUNT_KEYS, images, longest, whole=True)
            counts = np.full(images, longest) if counts is None else counts
        ids = _ids(file, images)
        arrays = _Arrays(
            regions=open_rows(path, features.name[1:]),
            boxes=None if boxes is None else open_rows(path, boxes.name[1:]),
            ranges=ranges,
            swapped=swapped,
            sizes=None if boxes is None or boxes is spatial else sizes,
        )
    width = shape[1] if swapped else shape[-1]
    for row in range(images):
        count, image_id = int(counts[row]), "" if ids is None else ids[row]
        read = partial(arrays.read, row, count)
        has_boxes = arrays.boxes is not None
        yield Image(image_id, f"{place}, row {row}", count, width, dtype, has_boxes, read)


def _find(file: h5py.File, keys: Sequence[str]) -> h5py.Dataset | None:
    """The first dataset that is there, checked by `dataset_at`."""
    for key in keys:
        # Not `file.get`: it takes what is damaged for what is not there. A link to another file is
        # not followed; `dataset_at` refuses it.
        if key in file and (
            isinstance(file.get(key, getlink=True), h5py.ExternalLink)
            or isinstance(file[key], h5py.Dataset)
        ):
            return dataset_at(file, key)
    return None


def _described(dataset: h5py.Dataset) -> str:
    return f"{dataset.file.filename}:{dataset.name} is {dataset.dtype} of shape {dataset.shape}"


def _ranges(file: h5py.File, shape: tuple[int, ...]) -> np.ndarray | None:
    values = _find(file, _RANGE_KEYS)
    if values is None or len(shape) != 2:
        if len(shape) != 3:
            raise DataError(
                f"{file.filename}: the features have shape {shape}, expected [images, regions, "
                "features], or two axes and the ranges of the images in pos_boxes"
            )
        return None
    if values.dtype.kind not in "iu" or values.ndim != 2 or values.shape[1] != 2:
        raise DataError(f"{_described(values)}, expected [n, 2]")
    place = f"{file.filename}:{values.name}"
    ranges = values[()].astype(np.int64)
    if not len(ranges):
        raise DataError(f"{place}: it is empty, expected ranges of the {shape[0]} rows")
    first, last = ranges.T
    longest = max(1, _LARGEST // (8 * shape[1]))
    bad = (first < 0) | (last <= first) | (last > shape[0]) | (last - first > longest)
    if bad.any():
        row = np.argmax(bad)
        raise DataError(
            f"{place}: row {row} is {ranges[row].tolist()}, expected ranges of the {shape[0]} rows"
        )
    return ranges


def _numbers(
    file: h5py.File, keys: Sequence[str], images: int, largest: float, whole: bool = False
) -> np.ndarray | None:
    """One number per image, more than 0."""
    values = _find(file, keys)
    if values is None:
        return None
    if values.dtype.kind not in "iuf" or values.size != images:
        raise DataError(f"{_described(values)}, expected a number for each of the {images} images")
    numbers = values[()].reshape(images)
    smallest = 1 if whole else np.finfo(np.float32).tiny
    good = (numbers >= smallest) & (numbers <= largest)
    if whole:
        good &= numbers == np.trunc(numbers)
    if not good.all():
        row = np.argmin(good)
        expected = f"1 to {largest}" if whole else "a positive number"
        raise DataError(
            f"{file.filename}:{values.name}, row {row}: {numbers[row]}, expected {expected}"
        )
    return numbers


def _sizes(file: h5py.File, images: int) -> np.ndarray | None:
    largest = np.finfo(np.float32).max
    sides = [_numbers(file, keys, images, largest) for keys in (_WIDTH_KEYS, _HEIGHT_KEYS)]
    if any(side is None for side in sides):
        return None
    return np.stack(sides, axis=1).astype(np.float32)


def _is_swapped(shape: tuple[int, ...], boxes: h5py.Dataset | None) -> bool:
    if boxes is not None and boxes.ndim == 3 and shape[1] != shape[2]:
        return boxes.shape[2] == shape[2] and boxes.shape[1] != shape[1]
    return shape[2] <= _MOST_REGIONS < shape[1]


def _check_boxes(boxes: h5py.Dataset, shape: tuple[int, ...], swapped: bool) -> None:
    # The axis of the numbers, four in place of the features.
    axis = 1 if swapped else -1
    regions, expected = list(boxes.shape), list(shape)
    if boxes.dtype.kind in "iuf" and len(regions) == len(expected):
        numbers = regions.pop(axis)
        expected.pop(axis)
        if regions == expected and numbers >= 4:
            return
    raise DataError(
        f"{_described(boxes)}, expected 4 numbers for each box of features of shape {shape}"
    )


def _ids(file: h5py.File, images: int) -> Sequence[str] | None:
    path = Path(file.filename)
    beside = path.with_name(f"{path.stem}_ids.txt")
    values = _find(file, _ID_KEYS)
    if values is not None:
        place = f"{path}:{values.name}"
        if values.dtype.kind in "iu" and values.ndim == 1:
            ids = [str(value) for value in values[()]]
        else:
            ids = read_strings(values, place)
    elif beside.is_file():
        ids, place = read_lines(beside), str(beside)
    else:
        return None
    if len(ids) != images or len(set(ids)) < images or not all(ids):
        raise DataError(
            f"{place} has {len(ids)} ids, {len(set(ids))} of them different, expected {images}"
        )
    return ids


def advice_on_ids(path: Path) -> str:
    """How ids get to a file that has none, with a command for a pickle of ids beside it."""
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
