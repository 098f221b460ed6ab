"""The field's precomputed format: one folder, `{split}_ims.npy` and text files beside it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.assembly import Layout, assemble
from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing, is_broken_link
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.data.npy import map_array, open_rows, write_array
from hslm_tf.data.text_lines import line_place, read_lines, write_captions

# Endings and readers of the parts. The features come last, here and wherever files are moved: a
# split is there when its features are.
_PARTS = {
    "caps": ("txt", read_lines),
    "ids": ("txt", read_lines),
    "boxes": ("npy", open_rows),
    "num_regions": ("npy", map_array),
    "features": ("json", read_object),
    "ims": ("npy", open_rows),
}


def precomputed_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split, optional ones included."""
    return {part: Path(folder) / f"{split}_{part}.{end}" for part, (end, _) in _PARTS.items()}


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
    if broken := [path for path in paths.values() if is_broken_link(path)]:
        raise DataError(f"{broken[0]} is a link that leads to nothing, to {os.readlink(broken[0])}")
    there = [part for part, path in paths.items() if path.exists()]
    required = ("ims",) if captions_optional else ("ims", "caps")
    if missing := [paths[part].name for part in required if part not in there]:
        raise DataError(f"{folder} lacks {', '.join(missing)}; it holds {folder_listing(folder)}")

    def label(part: str, row: int | None = None) -> str:
        path = paths[part]
        if row is None:
            return str(path)
        return line_place(path, row) if path.suffix == ".txt" else f"{path}, row {row}"

    parts = {part: _PARTS[part][1](paths[part]) for part in there}
    return assemble(split, parts, label, layout, float64)


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


def take_places(work: Path, folder: Path, names: Sequence[str], written: Sequence[str]) -> None:
    """Moves the files of splits from a folder of work to their places, where older ones may be."""
    # A split is there when its features are: the old ones go first, and the new come last, so that
    # whoever is killed between leaves no old file beside a new one that loads.
    names = sorted(names, key=lambda name: name.endswith("_ims.npy"))
    for name in reversed(names):
        if name not in written or (name.endswith("_ims.npy") and (work / name).exists()):
            (folder / name).unlink(missing_ok=True)
    for name in names:
        if (work / name).exists():
            os.replace(work / name, folder / name)
