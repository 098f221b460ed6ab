"""Arrays and strings in one HDF5 file, with a manifest and checksums."""

import json
import os
import zlib
from collections.abc import Collection as Names
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.errors import DataError

_BLOCK_BYTES = 2**26


def write_parts(path: Path, parts: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Writes a file in one piece: until it is complete, an older file stays as it is.

    Args:
        path: the file.
        parts: arrays, or anything with `shape`, `dtype` and slices, and lists of strings.
        manifest: values that JSON can hold; the checksums are added.

    Raises:
        OSError: if the file cannot be written.
    """
    with atomic_write(path) as draft, h5py.File(draft, "w") as file:
        checksums = {name: _write(file, name, values) for name, values in parts.items()}
        file.attrs["manifest"] = json.dumps({**manifest, "checksums": checksums})


def read_parts(
    path: Path, lazy: Names[str] = (), verify: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Opens a file.

    Args:
        path: the file.
        lazy: parts that are mapped instead of read; only `verify` compares their checksums.
        verify: compares the checksums of all parts, which reads the whole file.

    Returns:
        The parts, strings as lists, and the manifest.

    Raises:
        DataError: if the file is missing, truncated, damaged, or without a manifest.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        # Both handles must be of the same file: another process may replace it between the two.
        with open(path, "rb") as raw, h5py.File(path, "r") as file:
            opened = os.fstat(file.id.get_vfd_handle())
            if not os.path.samestat(os.fstat(raw.fileno()), opened):
                raise DataError(f"{path} was replaced while it was opened: open it again")
            manifest = _read_manifest(file)
            parts = {}
            for name, checksum in manifest["checksums"].items():
                if name not in file:
                    raise DataError(f"{path} lacks /{name}, which its manifest lists")
                values = _map(raw, file[name]) if name in lazy else file[name][()]
                if (verify or name not in lazy) and _checksum(values) != checksum:
                    raise DataError(
                        f"{path}:/{name} is damaged: its checksum is not the one in the manifest"
                    )
                is_text = h5py.check_string_dtype(file[name].dtype) is not None
                parts[name] = [value.decode() for value in values] if is_text else values
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as a collection: {error}") from error
    return parts, manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads the manifest of a file alone.

    Args:
        path: the file.

    Returns:
        The manifest.

    Raises:
        DataError: if the file is missing, broken, or without a manifest.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            return _read_manifest(file)
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as a collection: {error}") from error


def _read_manifest(file: h5py.File) -> dict[str, Any]:
    text = file.attrs.get("manifest")
    if text is None:
        raise DataError(f"{file.filename} has no manifest: it is no collection")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file.filename} has a damaged manifest: {error}") from error


def _write(file: h5py.File, name: str, values: Any) -> int:
    if isinstance(values, list):
        file.create_dataset(name, data=values, dtype=h5py.string_dtype("utf-8"))
        return _checksum([value.encode() for value in values])
    target = file.create_dataset(name, values.shape, values.dtype)
    checksum = 0
    for rows in _blocks(values):
        block = np.ascontiguousarray(values[rows])
        target[rows] = block
        checksum = zlib.crc32(block, checksum)
    return checksum


def _checksum(values: Any) -> int:
    checksum = 0
    if getattr(values, "dtype", np.dtype(object)).kind == "O":
        for value in values:
            # With the length, so that the border between two strings counts, too.
            checksum = zlib.crc32(b"%d:%s" % (len(value), value), checksum)
        return checksum
    for rows in _blocks(values):
        checksum = zlib.crc32(np.ascontiguousarray(values[rows]), checksum)
    return checksum


def _blocks(values: Any) -> list[slice]:
    row = max(1, int(np.prod(values.shape[1:])) * values.dtype.itemsize)
    size = max(1, _BLOCK_BYTES // row)
    return [slice(first, first + size) for first in range(0, len(values), size)]


def _map(file: BinaryIO, dataset: h5py.Dataset) -> np.ndarray:
    if not dataset.size:
        return dataset[()]
    offset = dataset.id.get_offset()
    if offset is None:
        raise DataError(
            f"{file.name}:{dataset.name} is chunked or compressed, expected contiguous rows"
        )
    return np.memmap(file, dataset.dtype, "r", offset, dataset.shape)
