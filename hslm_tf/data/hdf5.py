"""One HDF5 file for all splits: a group per split, a dataset per part."""

import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from hslm_tf.data.assembly import Layout, assemble
from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.caption_files import written_ids
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.hdf5_rows import dataset_at, group_at, open_hdf5, open_rows, read_strings
from hslm_tf.data.hdf5_writing import bytes_of_split, write_hdf5_file, write_strings
from hslm_tf.data.json_object import parse_object


def load_hdf5(
    path: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
    float64: bool = False,
) -> RetrievalDataset:
    """Opens a split of an HDF5 file."""

    def label(part: str, row: int | None = None) -> str:
        return f"{path}:/{split}/{part}" + ("" if row is None else f", row {row}")

    with open_hdf5(path) as file:
        parts = _parts(file, split, ["ims"] if captions_optional else ["ims", "caps"])
        texts = {
            part: read_strings(dataset_at(file, f"{split}/{part}"), label(part))
            for part in ("caps", "ids")
            if part in parts
        }
        num_regions = None
        if "num_regions" in parts:
            counts = dataset_at(file, f"{split}/num_regions")
            if counts.ndim != 1:
                raise DataError(
                    f"{label('num_regions')} has shape {counts.shape}, expected one axis"
                )
            num_regions = counts[()]
        extraction = None
        if "features" in parts:
            lines = read_strings(dataset_at(file, f"{split}/features"), label("features"))
            extraction = parse_object("\n".join(lines), label("features"))
    dataset = assemble(
        split,
        open_rows(path, f"{split}/ims"),
        texts.get("caps"),
        label=label,
        image_ids=texts.get("ids"),
        boxes=open_rows(path, f"{split}/boxes") if "boxes" in parts else None,
        num_regions=num_regions,
        layout=layout,
        float64=float64,
    )
    return replace(dataset, extraction=extraction)


def hdf5_splits(path: str | os.PathLike[str]) -> list[str]:
    """The splits in an HDF5 file."""
    with open_hdf5(path) as file:
        groups = {name: group_at(file, name) for name in file}
        return sorted(name for name, group in groups.items() if group and "ims" in group)


def write_hdf5(dataset: RetrievalDataset, path: Path, dtype: np.dtype, advance: Advance) -> None:
    """Adds a split to an HDF5 file, one row per image."""
    shape = (dataset.num_images, dataset.max_regions)
    ids = written_ids(dataset)
    with write_hdf5_file(path, bytes_of_split(dataset, dtype), "a") as file:
        group = file.create_group(dataset.name)
        arrays = {"ims": (dataset.region_dim, dtype, region_blocks(dataset, dtype, advance))}
        if dataset.boxes is not None:
            arrays["boxes"] = (4, np.dtype(np.float32), box_blocks(dataset))
        for part, (width, part_dtype, blocks) in arrays.items():
            target = group.create_dataset(part, (*shape, width), part_dtype)
            first = 0
            for block in blocks:
                target[first : first + len(block)] = block
                first += len(block)
        if dataset.captions:
            write_strings(group, "caps", dataset.captions, dataset.source)
        if ids is not None:
            write_strings(group, "ids", ids, dataset.source)
        if dataset.num_regions is not None:
            group.create_dataset("num_regions", data=dataset.num_regions)
        if dataset.extraction is not None:
            write_strings(group, "features", [json.dumps(dataset.extraction)], dataset.source)


def _parts(file: h5py.File, split: str, required: list[str]) -> list[str]:
    group = group_at(file, split)
    if group is None:
        raise DataError(
            f"{file.filename} lacks the group /{split}; it holds {', '.join(file) or 'nothing'}"
        )
    parts = list(group)
    missing = [part for part in required if part not in parts]
    if missing:
        raise DataError(
            f"{file.filename}:/{split} lacks {', '.join(missing)}; "
            f"it holds {', '.join(parts) or 'nothing'}"
        )
    return parts
