"""The field's precomputed format: one folder, `{split}_ims.npy` and text files beside it."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from hslm_tf.data.assembly import Layout, assemble
from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.data.npy import map_array, open_rows, write_array
from hslm_tf.data.text_lines import line_place, read_captions, read_lines, write_captions

_EXTENSIONS = {
    "caps": "txt",
    "ids": "txt",
    "boxes": "npy",
    "num_regions": "npy",
    "features": "json",
    "ims": "npy",
}


def precomputed_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split, optional ones included."""
    return {
        part: Path(folder) / f"{split}_{part}.{extension}"
        for part, extension in _EXTENSIONS.items()
    }


def precomputed_splits(folder: str | os.PathLike[str]) -> list[str]:
    """The splits in a folder."""
    return sorted(path.name.removesuffix("_ims.npy") for path in Path(folder).glob("?*_ims.npy"))


def load_precomputed(
    folder: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
    float64: bool = False,
) -> RetrievalDataset:
    """Opens a split in the precomputed format of VSE++, SCAN and SGRAF."""
    paths = precomputed_paths(folder, split)
    there = {part: path for part, path in paths.items() if path.is_file()}
    required = ("ims",) if captions_optional else ("ims", "caps")
    if missing := [paths[part].name for part in required if part not in there]:
        raise DataError(f"{folder} lacks {', '.join(missing)}; it holds {folder_listing(folder)}")

    def label(part: str, row: int | None = None) -> str:
        path = paths[part]
        if row is None:
            return str(path)
        return line_place(path, row) if path.suffix == ".txt" else f"{path}, row {row}"

    dataset = assemble(
        split,
        open_rows(paths["ims"]),
        read_captions(paths["caps"]) if "caps" in there else None,
        label=label,
        image_ids=read_lines(paths["ids"]) if "ids" in there else None,
        boxes=open_rows(paths["boxes"]) if "boxes" in there else None,
        num_regions=map_array(paths["num_regions"]) if "num_regions" in there else None,
        layout=layout,
        float64=float64,
    )
    if "features" in there:
        return replace(dataset, extraction=read_object(paths["features"]))
    return dataset


def write_precomputed(
    dataset: RetrievalDataset, folder: Path, dtype: np.dtype, advance: Advance
) -> None:
    """Writes a split in the precomputed format, one row per image."""
    paths = precomputed_paths(folder, dataset.name)
    images, regions = dataset.num_images, dataset.max_regions
    shape = (images, regions, dataset.region_dim)
    write_array(paths["ims"], shape, dtype, region_blocks(dataset, dtype, advance))
    write_captions(dataset, paths["caps"], paths["ids"])
    if dataset.boxes is not None:
        boxes = box_blocks(dataset)
        write_array(paths["boxes"], (images, regions, 4), np.dtype(np.float32), boxes)
    if dataset.num_regions is not None:
        np.save(paths["num_regions"], dataset.num_regions)
    if dataset.extraction is not None:
        write_object(paths["features"], dataset.extraction)
