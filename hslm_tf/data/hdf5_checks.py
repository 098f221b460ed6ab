"""What a dataset in an HDF5 file says of itself, compared with the file before any value is read.

HDF5 believes a file: it allocates what a damaged length asks for, and loops for ever in a damaged
heap of strings or of names. Filters that are not built in are code of other libraries.
"""

import math
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import h5py
import numpy as np

from hslm_tf.data.errors import DataError

# The filters of HDF5 and h5py, each with the largest factor by which it can compress.
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: ("gzip", 1032),
    h5py.h5z.FILTER_SHUFFLE: ("shuffle", 1),
    h5py.h5z.FILTER_FLETCHER32: ("fletcher32", 1),
    h5py.h5z.FILTER_SZIP: ("szip", 1032),
    h5py.h5z.FILTER_LZF: ("lzf", 1032),
}
# A chunk is in memory as a whole, however few of its values are asked for.
_LARGEST_CHUNK = 1 << 28
# How a string of variable length stands in a dataset, and a heap of strings and its objects begin.
_STRING = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])
_HEAP = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HHIQ")
# How the header of a group begins, a message in it, and a heap of names.
_HEADER = struct.Struct("<BxHII4x")
_MESSAGE = struct.Struct("<HHB3x")
_NAMES = struct.Struct("<4sB3xQQQ")
_SYMBOL_TABLE, _ATTRIBUTE, _CONTINUATION = 0x11, 0x0C, 0x10


def check_storage(dataset: h5py.Dataset, place: str) -> None:
    """Checks that the values lie in the file itself, and are no more than it can hold.

    Args:
        dataset: a dataset with a shape.
        place: names it in errors.

    Raises:
        DataError: if they lie in another file, are packed by a filter that is not built in, or are
            more than the file can hold.
    """
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{place} lies in another file, expected the values in this one")
    held = os.path.getsize(dataset.file.filename)
    largest = held * _compression(dataset, place)
    rows, size = (dataset.shape or (1,))[0], math.prod(dataset.shape) * dataset.dtype.itemsize
    if rows > held or size > largest:
        raise DataError(
            f"{place} has shape {dataset.shape}, more than a file of {held} bytes holds: it is "
            "damaged"
        )
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if chunk > min(max(largest, dataset.dtype.itemsize), _LARGEST_CHUNK):
        raise DataError(
            f"{place} has chunks of shape {dataset.chunks}, {chunk} bytes each: at most "
            f"{_LARGEST_CHUNK} are read, and no more than a file of {held} bytes holds"
        )


def _compression(dataset: h5py.Dataset, place: str) -> int:
    """How many times larger than the file the values may be."""
    if dataset.chunks is None:
        return 1
    created = dataset.id.get_create_plist()
    largest = 1
    for number in range(created.get_nfilters()):
        code, _, _, name = created.get_filter(number)
        if code not in _FILTERS:
            known = ", ".join(name for name, _ in _FILTERS.values())
            raise DataError(
                f"{place} is packed with the filter {name.decode(errors='replace')!r} (number "
                f"{code}), a plugin, expected {known} or none: plugins are code, and none is loaded"
            )
        largest = max(largest, _FILTERS[code][1])
    return largest


def check_strings(dataset: h5py.Dataset, place: str) -> None:
    """Checks lengths and heaps of strings of variable length that lie in one piece.

    Args:
        dataset: the strings; of others nothing is checked.
        place: names them in errors.

    Raises:
        DataError: if they are more than the file can hold, or a heap is damaged.
    """
    kind, offset = h5py.check_string_dtype(dataset.dtype), dataset.id.get_offset()
    if kind is None or kind.length is not None or offset is None or dataset.file.userblock_size:
        return
    with open(dataset.file.filename, "rb") as file:
        file.seek(offset)
        content = file.read(dataset.size * _STRING.itemsize)
        if len(content) < dataset.size * _STRING.itemsize:
            raise DataError(f"{place} goes on beyond the end of the file")
        _check_stored(file, np.frombuffer(content, _STRING), place)


def _check_stored(file: BinaryIO, stored: np.ndarray, place: str) -> None:
    held = os.fstat(file.fileno()).st_size
    if stored["length"].sum(dtype=np.int64) > held:
        raise DataError(f"{place} has longer strings than a file of {held} bytes holds")
    # An empty string is in no heap.
    for heap in np.unique(stored["heap"][stored["length"] > 0]).tolist():
        if not _is_heap(file, heap, held):
            raise DataError(f"{place} has its strings in a heap that is damaged, at {heap}")


def _is_heap(file: BinaryIO, start: int, held: int) -> bool:
    if start + _HEAP.size > held:
        return False
    file.seek(start)
    signature, _, size = _HEAP.unpack(file.read(_HEAP.size))
    if signature != b"GCOL" or not _HEAP.size <= size <= held - start:
        return False
    content, place = file.read(size - _HEAP.size), 0
    while place + _OBJECT.size <= len(content):
        number, _, _, length = _OBJECT.unpack_from(content, place)
        # Object 0 is the room that is left, its header included.
        step = _OBJECT.size + -(-length // 8) * 8 if number else length
        if not 0 < step <= len(content) - place:
            return False
        place += step
    return True


def check_names(group: h5py.Group, place: str) -> None:
    """Checks the heap with the names in a group, as HDF5 writes groups by default.

    Args:
        group: the group; of groups of another form nothing is checked.
        place: names it in errors.

    Raises:
        DataError: if the heap is damaged.
    """
    if group.file.userblock_size:
        return
    with open(group.file.filename, "rb") as file:
        for kind, content in _messages(file, _header_of(group)):
            if kind != _SYMBOL_TABLE:
                continue
            heap = int.from_bytes(content[8:16], "little")
            if not _is_heap_of_names(file, heap):
                raise DataError(f"{place} has its names in a heap that is damaged, at {heap}")


def check_text(group: h5py.Group, name: str, place: str) -> None:
    """Checks length and heap of a text that is an attribute of a group, as `check_strings`.

    Args:
        group: the group; of groups of another form than HDF5's default nothing is checked.
        name: name of the attribute.
        place: names it in errors.

    Raises:
        DataError: if it is more than the file can hold, or the heap is damaged.
    """
    if group.file.userblock_size or name not in group.attrs:
        return
    text = h5py.check_string_dtype(group.attrs.get_id(name).dtype)
    if text is None or text.length is not None:
        return
    with open(group.file.filename, "rb") as file:
        for kind, content in _messages(file, _header_of(group)):
            # The name's length counts a zero behind it; the value stands at the end.
            length = int.from_bytes(content[2:4], "little") - 1
            if kind == _ATTRIBUTE and content[8 : 8 + length] == name.encode():
                stored = np.frombuffer(content[-_STRING.itemsize :], _STRING)
                _check_stored(file, stored, place)


def _header_of(group: h5py.Group) -> int:
    # Not by `h5o.get_info`, which measures the heap of names.
    return h5py.h5g.get_objinfo(group.id).objno[0]


def _messages(file: BinaryIO, header: int) -> Iterator[tuple[int, bytes]]:
    """Kinds and contents of what a header says; nothing of a header of the newest form."""
    held = os.fstat(file.fileno()).st_size
    file.seek(header)
    version, _, _, size = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
    blocks, seen = [(header + _HEADER.size, size)] if version == 1 else [], set()
    for start, length in blocks:
        if start in seen or start + length > held:
            return
        seen.add(start)
        file.seek(start)
        content, place = file.read(length), 0
        while place + _MESSAGE.size <= len(content):
            kind, size, _ = _MESSAGE.unpack_from(content, place)
            place += _MESSAGE.size + size
            message = content[place - size : place]
            if kind == _CONTINUATION and size >= 16:
                blocks.append(tuple(np.frombuffer(message[:16], "<u8").tolist()))
            yield kind, message


def _is_heap_of_names(file: BinaryIO, start: int) -> bool:
    held = os.fstat(file.fileno()).st_size
    if start + _NAMES.size > held:
        return False
    file.seek(start)
    signature, _, size, free, content = _NAMES.unpack(file.read(_NAMES.size))
    if signature != b"HEAP" or content + size > held:
        return False
    file.seek(content)
    names, seen = file.read(size), set()
    # The list of the room that is left ends with a 1.
    while free != 1:
        if free in seen or free + 16 > size:
            return False
        seen.add(free)
        free = int.from_bytes(names[free : free + 8], "little")
    return True
