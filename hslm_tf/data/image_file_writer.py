"""Writes a folder with one `.npz` file per image, as today's detectors do."""

import os
from pathlib import Path

import numpy as np

from hslm_tf.data.blocks import Advance, image_blocks, region_blocks
from hslm_tf.data.caption_files import caption_paths, with_ids, write_captions
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError


def image_file_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split.

    Args:
        folder: the data folder.
        split: `train`, `dev` or `test`.

    Returns:
        From a part (`caps`, `ids`, `images`) to its file; `images` is a folder.
    """
    return {**caption_paths(folder, split), "images": Path(folder) / f"{split}_npz"}


def write_image_files(
    dataset: RetrievalDataset, folder: Path, dtype: np.dtype, advance: Advance
) -> None:
    """Writes a split as `.npz` files called as the images' ids, with `x`, `bbox` and `num_bbox`.

    Args:
        dataset: the split; its captions are in image order. Without ids it gets those of
            `with_ids`.
        folder: an existing folder.
        dtype: type of the region features, float32 or float16.
        advance: called with the number of images after each block.

    Raises:
        DataError: if an id cannot be the name of a file.
    """
    paths, dataset = image_file_paths(folder, dataset.name), with_ids(dataset)
    others = [other for other in folder.glob("*_npz") if other != paths["images"]]
    for image, image_id in enumerate(dataset.image_ids):
        if not _names_a_file(image_id):
            raise DataError(
                f"{dataset.source}, row {image}: the id {image_id[:60]!r} cannot be the name of a "
                "file"
            )
        if clash := [other for other in others if (other / f"{image_id}.npz").exists()]:
            raise DataError(
                f"{dataset.source}, row {image}: the id {image_id!r} is one of {clash[0].name}, "
                "too: splits with a file per image are read as one collection"
            )
    paths["images"].mkdir()
    blocks = region_blocks(dataset, dtype, advance)
    for images, regions in zip(image_blocks(dataset), blocks, strict=True):
        mask, boxes = dataset.region_mask(images), dataset.read_boxes(images)
        for row, image in enumerate(images):
            parts = {"x": regions[row, mask[row]], "num_bbox": mask[row].sum()}
            if boxes is not None:
                parts["bbox"] = boxes[row, mask[row]]
            np.savez(paths["images"] / f"{dataset.image_ids[image]}.npz", **parts)
    write_captions(dataset, paths["caps"], paths["ids"])


def _names_a_file(image_id: str) -> bool:
    # Readers leave hidden files alone.
    hidden = image_id.startswith(".") or "\0" in image_id
    return not hidden and Path(image_id).name == image_id and len(os.fsencode(image_id)) <= 200
