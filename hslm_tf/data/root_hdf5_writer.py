"""Writes an HDF5 file with all images at its root, as for visual question answering."""

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.caption_files import write_captions
from hslm_tf.data.dataset import RetrievalDataset


def root_hdf5_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split.

    Args:
        folder: the data folder.
        split: `train`, `dev` or `test`.

    Returns:
        From a part (`caps`, `ids`, `hdf5`) to its file.
    """
    folder = Path(folder)
    return {
        "caps": folder / f"{split}_caps.txt",
        "ids": folder / f"{split}_ids.txt",
        "hdf5": folder / f"{split}.hdf5",
    }


def write_root_hdf5(
    dataset: RetrievalDataset, folder: Path, dtype: np.dtype, advance: Advance
) -> None:
    """Writes a split as `image_features`, `image_bb`, `num_boxes` and `image_ids`.

    Args:
        dataset: the split; its captions are in image order. Without ids, the split and a number
            are the id: all splits of a folder are read as one collection.
        folder: an existing folder.
        dtype: type of the region features, float32 or float16.
        advance: called with the number of images after each block.
    """
    paths = root_hdf5_paths(folder, dataset.name)
    ids = dataset.image_ids or [f"{dataset.name}-{row}" for row in range(dataset.num_images)]
    shape = (dataset.num_images, dataset.max_regions)
    with h5py.File(paths["hdf5"], "w") as file:
        arrays = {"image_features": (dataset.region_dim, region_blocks(dataset, dtype, advance))}
        if dataset.boxes is not None:
            arrays["image_bb"] = (4, box_blocks(dataset))
        for name, (width, blocks) in arrays.items():
            of_type = dtype if name == "image_features" else np.float32
            target, first = file.create_dataset(name, (*shape, width), of_type), 0
            for block in blocks:
                target[first : first + len(block)] = block
                first += len(block)
        counts = dataset.num_regions
        file["num_boxes"] = np.full(shape[0], shape[1], np.int32) if counts is None else counts
        file.create_dataset("image_ids", data=ids, dtype=h5py.string_dtype("utf-8"))
    write_captions(replace(dataset, image_ids=ids), paths["caps"], paths["ids"])
