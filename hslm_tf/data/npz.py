"""Arrays in a `.npz`, compared with what the archive says of them before memory is taken."""

import math
import struct
import zipfile
import zlib

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import read_header

# zipfile, zlib and NumPy raise these on a file that is damaged, encrypted or oddly compressed.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError, OSError),
    *(TypeError, struct.error, NotImplementedError, SyntaxError, MemoryError),
)


def read_member(
    archive: zipfile.ZipFile, key: str, place: str, largest: float = math.inf
) -> np.ndarray:
    """Reads an array whose header and whose length in the archive agree."""
    name = f"{key}.npy"
    with archive.open(name) as file:
        shape, dtype = read_header(file, f"{place}, {key}")
        rest = archive.getinfo(name).file_size - file.tell()
    if rest != dtype.itemsize * math.prod(shape):
        raise DataError(f"{place}: {key} has {rest} bytes, expected {dtype} of shape {shape}")
    if rest > largest:
        raise DataError(f"{place}: {key} of shape {shape} has more than {largest} bytes")
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
