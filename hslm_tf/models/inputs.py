"""Checks a user's images and captions before anything is computed."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.text.tokenization import string_tensor


def check_images(
    region_features: np.ndarray | tf.Tensor,
    region_mask: np.ndarray | tf.Tensor | None,
    expected: keras.KerasTensor,
) -> dict[str, tf.Tensor]:
    """Checks region features and their mask."""
    features = tf.convert_to_tensor(region_features)
    if not (features.dtype.is_floating or features.dtype.is_integer):
        raise ValueError(
            "`region_features` must be numbers. "
            f"Received: region_features.dtype={features.dtype.name}"
        )
    if features.shape.rank != 3 or features.shape[-1] != expected.shape[-1]:
        one = " For one image, pass `region_features[None]`." if features.shape.rank == 2 else ""
        raise ValueError(
            f"`region_features` must be [images, regions, {expected.shape[-1]}].{one} "
            f"Received: region_features.shape={tuple(features.shape)}"
        )
    if region_mask is None:
        region_mask = tf.ones(tf.shape(features)[:2], tf.bool)
    region_mask = tf.cast(region_mask, tf.bool)
    if not region_mask.shape.is_compatible_with(features.shape[:2]):
        raise ValueError(
            f"`region_mask` must be [images, regions], {tuple(features.shape[:2])}. "
            f"Received: region_mask.shape={tuple(region_mask.shape)}"
        )
    if tf.executing_eagerly():
        empty = np.flatnonzero(~np.any(region_mask, axis=1))
        if len(empty):
            raise ValueError(
                "Every image must have a region. "
                f"Received: none in image {empty[0]} of {len(features)}"
            )
    return {"region_features": tf.cast(features, expected.dtype), "region_mask": region_mask}


def check_captions(captions: Sequence[str] | tf.Tensor) -> tf.Tensor:
    """Checks captions."""
    if isinstance(captions, str | bytes):
        raise ValueError(f"`captions` is a list of strings. Received: captions={captions!r}")
    if not len(captions):
        raise ValueError("`captions` must not be empty. Received: captions=[]")
    if not tf.is_tensor(captions):
        for row, caption in enumerate(captions):
            if not isinstance(caption, str | bytes):
                raise ValueError(
                    f"Every caption must be a string. Received: captions[{row}]={caption!r}"
                )
    return string_tensor(captions)
