"""Writes an HDF5 file with all images at its root, as for visual question answering."""

import os
from pathlib import Path

import numpy as np

from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.caption_files import caption_paths, with_ids, write_captions
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.hdf5_writing import bytes_of_split, write_hdf5_file, write_strings


def root_hdf5_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split.

    Args:
        folder: the data folder.
        split: `train`, `dev` or `test`.

    Returns:
        From a part (`caps`, `ids`, `hdf5`) to its file.
    """
    return {**caption_paths(folder, split), "hdf5": Path(folder) / f"{split}.hdf5"}


def write_root_hdf5(
    dataset: RetrievalDataset, folder: Path, dtype: np.dtype, advance: Advance
) -> None:
    """Writes a split as `image_features`, `image_bb`, `num_boxes` and `image_ids`.

    Args:
        dataset: the split; its captions are in image order. Without ids it gets those of
            `with_ids`.
        folder: an existing folder.
        dtype: type of the region features, float32 or float16.
        advance: called with the number of images after each block.
    """
    paths, dataset = root_hdf5_paths(folder, dataset.name), with_ids(dataset)
    shape = (dataset.num_images, dataset.max_regions)
    with write_hdf5_file(paths["hdf5"], bytes_of_split(dataset, dtype)) as file:
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
        write_strings(file, "image_ids", dataset.image_ids, dataset.source)
    write_captions(dataset, paths["caps"], paths["ids"])
