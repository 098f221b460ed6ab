"""What can be seen at a path, without converting it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.loading import find_splits, open_split, recognise
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.reader import Reader


def describe(
    path: str | os.PathLike[str], splits: Sequence[str] = (), options: ReadOptions | None = None
) -> str:
    """Says what is read from a path.

    Args:
        path: a file or a folder.
        splits: splits to describe; none means all that are found.
        options: how it is read.

    Returns:
        For every split its format and what that was recognised by, images, captions, regions, width
        and type of the features, boxes and ids.

    Raises:
        DataError: if no format is recognised, or files are broken.
    """
    options = options or ReadOptions()
    parts = []
    for split in splits or find_splits(path, options):
        reader, recognised_by = recognise(path, split, options)
        dataset = open_split(path, split, options)
        lines = {
            "format": f"{reader.name}, recognised by {recognised_by}",
            "features": _features(reader, Path(path), split, options),
            "images": f"{dataset.num_images:,}",
            "captions": _captions(dataset),
            "regions": _range(_num_regions(dataset)),
            "width": str(dataset.region_dim),
            "type": str(dataset.region_features.dtype),
            "boxes": "none" if dataset.boxes is None else "yes",
            "ids": "none" if dataset.image_ids is None else f"such as {dataset.image_ids[0]}",
        }
        parts.append("\n".join([f"{split}:", *(f"  {key:9}{lines[key]}" for key in lines)]))
    return "\n".join(parts)


def _features(reader: Reader, path: Path, split: str, options: ReadOptions) -> str:
    if reader.store is None:
        return reader.name
    store = reader.store(path, split, options)
    return f"{store.kind}, recognised by {store.recognised_by}, in {store.source}"


def _captions(dataset: RetrievalDataset) -> str:
    if not dataset.captions:
        return "none"
    counts = np.bincount(dataset.caption_to_image, minlength=dataset.num_images)
    return f"{dataset.num_captions:,}, {_range(counts)} an image"


def _num_regions(dataset: RetrievalDataset) -> np.ndarray:
    if dataset.num_regions is None:
        return np.array([dataset.max_regions])
    return dataset.num_regions


def _range(numbers: np.ndarray) -> str:
    smallest, largest = numbers.min(), numbers.max()
    return f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
