"""One HDF5 file for all splits: a group per split, a dataset per part."""

import json
import logging
import os
from pathlib import Path

import numpy as np

from hslm_tf.data.assembly import Layout, assemble
from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.hdf5_rows import dataset_at, group_at, open_hdf5, open_rows, read_strings
from hslm_tf.data.hdf5_writing import bytes_of, write_hdf5_file, write_strings
from hslm_tf.data.json_object import parse_object
from hslm_tf.data.text_lines import ids_to_write

logger = logging.getLogger("hslm_tf")
_MOST_SPLITS = 1000


def load_hdf5(
    path: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
    float64: bool = False,
) -> RetrievalDataset:
    """Opens a split of an HDF5 file, whose parts are those of the precomputed format."""

    def label(part: str, row: int | None = None) -> str:
        return f"{path}:/{split}/{part}" + ("" if row is None else f", row {row}")

    with open_hdf5(path) as file:
        group = group_at(file, split)
        if group is None:
            raise DataError(f"{path} lacks the group /{split}; it holds {', '.join(file)}")
        required = ("ims",) if captions_optional else ("ims", "caps")
        if missing := [part for part in required if part not in group]:
            raise DataError(
                f"{path}:/{split} lacks {', '.join(missing)}; it holds "
                f"{', '.join(group) or 'nothing'}"
            )
        parts = {}
        for part in group:
            key = f"{split}/{part}"
            if part in ("ims", "boxes"):
                parts[part] = open_rows(path, key)
            elif part in ("caps", "ids", "features"):
                parts[part] = read_strings(dataset_at(file, key), label(part))
            elif part == "num_regions":
                counts = dataset_at(file, key)
                if counts.ndim != 1:
                    raise DataError(f"{label(part)} has shape {counts.shape}, expected one axis")
                parts[part] = counts[()]
    if "features" in parts:
        parts["features"] = parse_object("\n".join(parts["features"]), label("features"))
    return assemble(split, parts, label, layout, float64)


def hdf5_splits(path: str | os.PathLike[str]) -> list[str]:
    """The splits in an HDF5 file."""
    with open_hdf5(path) as file:
        # Some tools write a group for every image. HDF5 takes seconds to look into thousands.
        if len(file) > _MOST_SPLITS:
            logger.warning(f"{path} has {len(file):,} groups, more than there are splits")
            return []
        groups = {name: group_at(file, name) for name in file}
        return sorted(name for name, group in groups.items() if group and "ims" in group)


def write_hdf5(dataset: RetrievalDataset, path: Path, dtype: np.dtype, advance: Advance) -> None:
    """Adds a split to an HDF5 file, one row per image."""
    shape = (dataset.num_images, dataset.max_regions)
    texts = {"caps": dataset.captions or None, "ids": ids_to_write(dataset)}
    if dataset.extraction is not None:
        texts["features"] = [json.dumps(dataset.extraction)]
    texts = {part: lines for part, lines in texts.items() if lines is not None}
    arrays = {"ims": (dataset.region_dim, dtype, region_blocks(dataset, dtype, advance))}
    if dataset.boxes is not None:
        arrays["boxes"] = (4, np.dtype(np.float32), box_blocks(dataset))
    room = sum(width * kind.itemsize for width, kind, _ in arrays.values())
    # The 8 is the number of regions.
    room = shape[0] * (shape[1] * room + 8) + bytes_of(texts.values())
    with write_hdf5_file(path, room, "a") as file:
        group = file.create_group(dataset.name)
        for part, (width, kind, blocks) in arrays.items():
            target = group.create_dataset(part, (*shape, width), kind)
            first = 0
            for block in blocks:
                target[first : first + len(block)] = block
                first += len(block)
        for part, lines in texts.items():
            write_strings(group, part, lines, dataset.source)
        if dataset.num_regions is not None:
            group.create_dataset("num_regions", data=dataset.num_regions)
