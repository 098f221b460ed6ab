"""The field's precomputed format: one folder, `{split}_ims.npy` and text files beside it."""

import os
from pathlib import Path

import numpy as np

from hslm_tf.data.assembly import Layout, assemble
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.text_lines import read_lines

EXTENSIONS = {
    "ims": "npy",
    "caps": "txt",
    "ids": "txt",
    "boxes": "npy",
    "num_regions": "npy",
}
_REQUIRED = ("ims", "caps")
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def part_path(folder: str | os.PathLike[str], split: str, part: str) -> Path:
    """The file of one part of a split.

    Args:
        folder: The data folder.
        split: `train`, `dev` or `test`.
        part: A key of `EXTENSIONS`.

    Returns:
        `folder/split_part.extension`.
    """
    return Path(folder) / f"{split}_{part}.{EXTENSIONS[part]}"


def load_precomputed(
    folder: str | os.PathLike[str], split: str, layout: Layout = "auto"
) -> RetrievalDataset:
    """Opens a split in the precomputed format of VSE++, SCAN and SGRAF.

    `{split}_ims.npy` (float32 or float16, `[rows, N, F]`) is mapped, never loaded;
    `{split}_caps.txt` has the same number of captions for every image, in image order. Optional:
    `_ids.txt`, `_boxes.npy` (`[rows, N, 4]`) and `_num_regions.npy` (`[rows]`).

    Args:
        folder: The data folder.
        split: `train`, `dev` or `test`.
        layout: `per_image`, `per_caption` (SCAN's release repeats every image for each of its
            five captions) or `auto`, see `assemble`.

    Returns:
        The dataset.

    Raises:
        DataError: A file is missing, broken, or does not fit the others.
    """
    paths = {part: part_path(folder, split, part) for part in EXTENSIONS}
    require_files(folder, [paths[part] for part in _REQUIRED])
    found = {part: path for part, path in paths.items() if path.exists()}
    return assemble(
        split,
        map_array(found["ims"]),
        read_lines(found["caps"]),
        label=lambda part: str(paths[part]),
        image_ids=read_lines(found["ids"]) if "ids" in found else None,
        boxes=map_array(found["boxes"]) if "boxes" in found else None,
        num_regions=map_array(found["num_regions"]) if "num_regions" in found else None,
        layout=layout,
    )


def require_files(folder: str | os.PathLike[str], paths: list[Path]) -> None:
    """Checks that files exist.

    Args:
        folder: The folder that was asked for.
        paths: The files expected in it.

    Raises:
        DataError: One is missing; the message lists what the folder holds.
    """
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}; it holds {folder_listing(folder)}")


def folder_listing(folder: str | os.PathLike[str]) -> str:
    """The names in a folder, for error messages.

    Args:
        folder: The folder.

    Returns:
        At most twenty names, or what stands there instead of a folder.
    """
    if not os.path.isdir(folder):
        return "nothing: there is no such folder"
    names = sorted(os.listdir(folder))
    listing = ", ".join(names[:20]) or "no files"
    return listing + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def map_array(path: Path) -> np.ndarray:
    """Memory-maps a `.npy` file after checking that it is as long as its header says.

    Args:
        path: The file.

    Returns:
        The array, read-only.

    Raises:
        DataError: Not a `.npy` file of numbers, or shorter than its header says.
    """
    try:
        with open(path, "rb") as file:
            shape, _, dtype = _HEADER_READERS[np.lib.format.read_magic(file)](file)
            expected = file.tell() + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} is not a .npy array: {error}") from error
    if dtype.hasobject:
        raise DataError(f"{path} holds Python objects, expected numbers")
    found = path.stat().st_size
    if found < expected:
        raise DataError(
            f"{path} is truncated: {found} bytes, expected {expected} for {dtype} of shape {shape}"
        )
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.load(path, mmap_mode="r", allow_pickle=False)
