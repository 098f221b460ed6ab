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
from hslm_tf.data.hdf5_rows import dataset_at, open_hdf5, read_strings
from hslm_tf.data.hdf5_writing import bytes_of, write_hdf5_file, write_strings
from hslm_tf.data.json_object import parse_object

_BLOCK_BYTES = 2**26


def write_parts(path: Path, parts: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Writes a file in one piece: until it is complete, an older file stays as it is."""
    room = bytes_of(parts.values()) + len(json.dumps(manifest))
    with atomic_write(path) as draft, write_hdf5_file(draft, room) as file:
        checksums = {name: _write(file, name, values) for name, values in parts.items()}
        file.attrs["manifest"] = json.dumps({**manifest, "checksums": checksums})


def read_parts(
    path: Path, lazy: Names[str] = (), verify: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Opens a file."""
    _require(path)
    # Both handles must be of the same file: another process may replace it between the two.
    with open(path, "rb") as raw, open_hdf5(path) as file:
        opened = os.fstat(file.id.get_vfd_handle())
        if not os.path.samestat(os.fstat(raw.fileno()), opened):
            raise DataError(f"{path} was replaced while it was opened: open it again")
        manifest = _read_manifest(file)
        parts = {}
        for name, checksum in manifest["checksums"].items():
            if name not in file:
                raise DataError(f"{path} lacks /{name}, which its manifest lists")
            values = _values(raw, dataset_at(file, name), name in lazy)
            if (verify or name not in lazy) and _checksum(values) != checksum:
                raise DataError(
                    f"{path}:/{name} is damaged: its checksum is not the one in the manifest"
                )
            parts[name] = values
    return parts, manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads the manifest of a file alone."""
    _require(path)
    with open_hdf5(path) as file:
        return _read_manifest(file)


def _require(path: Path) -> None:
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")


def _read_manifest(file: h5py.File) -> dict[str, Any]:
    place = f"the manifest of {file.filename}"
    text = file.attrs.get("manifest")
    if not isinstance(text, str):
        raise DataError(f"{file.filename} has no manifest: it is no collection")
    manifest = parse_object(text, place)
    if not isinstance(manifest.get("checksums"), dict):
        raise DataError(f"{place} has no checksums")
    return manifest


def _write(file: h5py.File, name: str, values: Any) -> int:
    if isinstance(values, list):
        write_strings(file, name, values, "the collection")
        return _checksum(values)
    target = file.create_dataset(name, values.shape, values.dtype)
    checksum = 0
    for rows in _blocks(values):
        block = np.ascontiguousarray(values[rows])
        target[rows] = block
        checksum = zlib.crc32(block, checksum)
    return checksum


def _checksum(values: Any) -> int:
    checksum = 0
    if isinstance(values, list):
        for value in map(str.encode, values):
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


def _values(file: BinaryIO, dataset: h5py.Dataset, lazy: bool) -> np.ndarray | list[str]:
    """Strings as a list; an array mapped or read."""
    place = f"{file.name}:{dataset.name}"
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return read_strings(dataset, place, strip=False)
    offset = dataset.id.get_offset()
    if dataset.size and offset is None:
        raise DataError(f"{place} is chunked or compressed, expected contiguous rows")
    if not lazy or not dataset.size:
        return dataset[()]
    return np.memmap(file, dataset.dtype, "r", offset, dataset.shape)
