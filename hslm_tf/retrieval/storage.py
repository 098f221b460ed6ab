"""How encoded features are kept: in float16 or float32, block by block."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from hslm_tf.data.atomic_write import naming
from hslm_tf.retrieval.rows import Rows

StorageType = Literal["float16", "float32"]


def allocate(shape: tuple[int, ...], dtype: StorageType, memmap_dir: Path | None) -> np.ndarray:
    """Makes an array to fill with features."""
    if memmap_dir is None or 0 in shape:
        return np.empty(shape, dtype)
    with naming(memmap_dir), tempfile.TemporaryFile(dir=memmap_dir) as file:
        if hasattr(os, "posix_fallocate"):
            # A disk that is too small is an error here; later it would kill the process.
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "w+", shape=shape)


def to_storage(values: Any, dtype: StorageType) -> np.ndarray:
    """Turns features into the type that they are kept in."""
    values = np.asarray(values)
    with np.errstate(over="ignore"):
        kept = values.astype(dtype)
    if not np.isfinite(kept).all():
        raise ValueError(
            f"A local feature of size {np.abs(values).max():.3g} does not fit the storage type. "
            f"Received: dtype={dtype}"
        )
    return kept


def to_float32(values: np.ndarray) -> tf.Tensor:
    """Turns kept features into float32 to compute with."""
    # TensorFlow casts with all threads, NumPy with one.
    return tf.cast(tf.constant(values), tf.float32)


def global_features(
    encoding: Mapping[str, Any], key: str, count: int, dtype: StorageType
) -> Rows | None:
    """The global vectors of an encoding, in the type that they are kept in."""
    if key not in encoding:
        return None
    features = np.asarray(encoding[key])
    if features.ndim != 2 or len(features) != count:
        raise ValueError(
            f"`{key}` must be [{count}, width]. Received: {key}.shape={features.shape}"
        )
    return Rows([to_storage(features, dtype)])
