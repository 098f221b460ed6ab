"""One HDF5 file for all splits: a group per split, a dataset per part."""

import os
import threading
from pathlib import Path

import h5py
import numpy as np

from hslm_tf.data.assembly import Label, Layout, assemble
from hslm_tf.data.blocks import Advance, box_blocks, region_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.file_rows import FileRows


class HDF5Rows:
    """Rows of an HDF5 dataset, read on demand; safe under threads and after a fork.

    Args:
        path: the file.
        key: the dataset in it.
    """

    def __init__(self, path: str | os.PathLike[str], key: str) -> None:
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._owner = -1
        with h5py.File(path, "r") as file:
            self.shape: tuple[int, ...] = file[key].shape
            self.dtype: np.dtype = file[key].dtype

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            `[b, ...]` of `dtype`.

        Raises:
            DataError: if the file cannot be read there.
        """
        ordered, places = np.unique(rows, return_inverse=True)
        values = np.empty((len(ordered), *self.shape[1:]), self.dtype)
        with self._lock:
            dataset = self._dataset()
            try:
                if len(ordered) == ordered[-1] - ordered[0] + 1:
                    dataset.read_direct(values, np.s_[ordered[0] : ordered[-1] + 1])
                else:
                    # A selection of scattered rows costs more in HDF5 than reading them singly.
                    for place, row in enumerate(ordered):
                        dataset.read_direct(values, np.s_[row], np.s_[place])
            except OSError as error:
                raise DataError(
                    f"{self._path}:/{self._key}, rows {ordered[0]} to {ordered[-1]}: {error}"
                ) from error
        return values[places]

    def _dataset(self) -> h5py.Dataset:
        if self._owner != os.getpid():
            self._file = h5py.File(self._path, "r")
            self._owner = os.getpid()
        return self._file[self._key]


def open_rows(path: str | os.PathLike[str], key: str) -> FileRows | HDF5Rows:
    """Opens a dataset to read some of its rows at a time.

    Args:
        path: the file.
        key: the dataset in it.

    Returns:
        Its rows; read without HDF5 where they lie in one piece in the file.
    """
    with h5py.File(path, "r") as file:
        dataset = file[key]
        # The offset is None where the dataset is in chunks, in another file, or was never written.
        offset = dataset.id.get_offset()
        if offset is not None and file.userblock_size == 0 and dataset.ndim > 1:
            return FileRows(path, dataset.shape, dataset.dtype, offset)
    return HDF5Rows(path, key)


def load_hdf5(
    path: str | os.PathLike[str],
    split: str,
    layout: Layout = "auto",
    captions_optional: bool = False,
) -> RetrievalDataset:
    """Opens a split of an HDF5 file.

    The group `/{split}` holds `ims` (float32 or float16, `[rows, N, F]`) and `caps` (UTF-8
    strings), and may hold `ids` (strings), `boxes` (`[rows, N, 4]`) and `num_regions` (`[rows]`),
    with the meaning they have in the precomputed format.

    Args:
        path: the file.
        split: `train`, `dev` or `test`.
        layout: as for `load_precomputed`.
        captions_optional: whether a split of images alone, to search in, is accepted.

    Returns:
        The dataset; its arrays are read on demand.

    Raises:
        DataError: if the file is not HDF5, is truncated, or a part is missing or wrong.
    """

    def label(part: str, row: int | None = None) -> str:
        return f"{path}:/{split}/{part}" + ("" if row is None else f", row {row}")

    try:
        with h5py.File(path, "r") as file:
            parts = _parts(file, split, ["ims"] if captions_optional else ["ims", "caps"])
            texts = {
                part: _read_strings(file[split][part], label, part)
                for part in ("caps", "ids")
                if part in parts
            }
            num_regions = file[split]["num_regions"][()] if "num_regions" in parts else None
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error
    return assemble(
        split,
        open_rows(path, f"{split}/ims"),
        texts.get("caps"),
        label=label,
        image_ids=texts.get("ids"),
        boxes=open_rows(path, f"{split}/boxes") if "boxes" in parts else None,
        num_regions=num_regions,
        layout=layout,
    )


def hdf5_splits(path: str | os.PathLike[str]) -> list[str]:
    """The splits in an HDF5 file.

    Args:
        path: the file.

    Returns:
        Names of the groups with region features.

    Raises:
        DataError: if the file is not HDF5 or is truncated.
    """
    try:
        with h5py.File(path, "r") as file:
            return sorted(name for name in file if f"{name}/ims" in file)
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error


def write_hdf5(dataset: RetrievalDataset, path: Path, dtype: np.dtype, advance: Advance) -> None:
    """Adds a split to an HDF5 file, one row per image.

    Args:
        dataset: the split; its captions are in image order.
        path: the file, made if it does not exist.
        dtype: type of the region features, float32 or float16.
        advance: called with the number of images after each block.
    """
    text = h5py.string_dtype("utf-8")
    shape = (dataset.num_images, dataset.max_regions)
    with h5py.File(path, "a") as file:
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
        group.create_dataset("caps", data=dataset.captions, dtype=text)
        if dataset.image_ids is not None:
            group.create_dataset("ids", data=dataset.image_ids, dtype=text)
        if dataset.num_regions is not None:
            group.create_dataset("num_regions", data=dataset.num_regions)


def _parts(file: h5py.File, split: str, required: list[str]) -> list[str]:
    if not isinstance(file.get(split), h5py.Group):
        raise DataError(
            f"{file.filename} lacks the group /{split}; it holds {', '.join(file) or 'nothing'}"
        )
    parts = list(file[split])
    missing = [part for part in required if part not in parts]
    if missing:
        raise DataError(
            f"{file.filename}:/{split} lacks {', '.join(missing)}; "
            f"it holds {', '.join(parts) or 'nothing'}"
        )
    folders = [part for part in parts if not isinstance(file[split][part], h5py.Dataset)]
    if folders:
        raise DataError(f"{file.filename}:/{split}/{folders[0]} is a group, expected a dataset")
    return parts


def _read_strings(values: h5py.Dataset, label: Label, part: str) -> list[str]:
    if h5py.check_string_dtype(values.dtype) is None or len(values.shape) != 1:
        raise DataError(
            f"{label(part)} is {values.dtype} of shape {values.shape}, expected a list of strings"
        )
    strings = []
    for row, value in enumerate(values[()]):
        try:
            strings.append(value.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise DataError(f"{label(part, row)}: {error}, expected UTF-8") from error
    return strings
