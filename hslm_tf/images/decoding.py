"""Photographs read and decoded on all cores, ahead of who asks for them."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.images.listing import Photograph
from hslm_tf.images.photographs import ImageError, decode_photograph


def decoded(photographs: Sequence[Photograph], ahead: int) -> Iterator[tuple[np.ndarray, str]]:
    """Reads and decodes photographs."""
    paths = tf.constant([os.fsencode(photograph.path) for photograph in photographs], tf.string)

    def read(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.numpy_function(_read, [path], [tf.uint8, tf.string])

    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(read, tf.data.AUTOTUNE, deterministic=True).prefetch(ahead)
    for image, reason in dataset.as_numpy_iterator():
        yield image, reason.decode()


def _read(path: bytes) -> tuple[np.ndarray, bytes]:
    try:
        with open(path, "rb") as file:
            return decode_photograph(file.read()), b""
    except ImageError as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    return np.zeros((0, 0, 3), np.uint8), reason.encode()
