"""Reads a dataset to its end, and checks that it is one."""

from typing import Any

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset


def dataset_to_its_end(dataset: RetrievalDataset) -> dict[str, Any]:
    """Everything in a dataset. What a reader let through must keep what `RetrievalDataset` says."""
    images = np.arange(dataset.num_images)
    regions, mask = dataset.read_images(images)
    boxes, owners = dataset.read_boxes(images), dataset.caption_to_image
    assert dataset.num_images > 0
    assert regions.shape == (len(images), dataset.max_regions, dataset.region_dim)
    assert np.isfinite(regions).all() and not regions[~mask].any() and mask.any(axis=1).all()
    assert boxes is None or (boxes.shape == (*mask.shape, 4) and np.isfinite(boxes).all())
    assert len(owners) == len(dataset.captions)
    assert not len(owners) or (owners[0] == 0 and owners[-1] == len(images) - 1)
    assert (np.diff(owners) >= 0).all() and (np.diff(owners) <= 1).all()
    for text in (*dataset.captions, *(dataset.image_ids or ())):
        assert isinstance(text, str) and text and "\n" not in text
        text.encode()
    assert dataset.image_ids is None or len(set(dataset.image_ids)) == len(images)
    return {
        "regions": regions,
        "mask": mask,
        "boxes": boxes,
        "owners": owners,
        "captions": dataset.captions,
        "ids": dataset.image_ids,
        "extraction": dataset.extraction,
    }


def same(one: Any, other: Any) -> bool:
    """Whether two results are the same: arrays, and what holds arrays."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if type(one) is not type(other) or one.dtype != other.dtype:
            return False
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
