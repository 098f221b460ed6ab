"""What users hand to a model, checked before anything is computed."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def check_images(
    regions: np.ndarray | tf.Tensor, region_mask: np.ndarray | tf.Tensor | None, region_dim: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Checks region features and their mask.

    Args:
        regions: `[n, regions, region_dim]`.
        region_mask: boolean `[n, regions]`, True for real regions; None where all are real.
        region_dim: width that the model takes.

    Returns:
        Both as tensors.

    Raises:
        ValueError: if they are no numbers, have another rank, width or number than expected, or an
            image has no regions; the message names the argument and the image.
    """
    regions = tf.convert_to_tensor(regions)
    if not (regions.dtype.is_floating or regions.dtype.is_integer):
        raise ValueError(f"`regions` must be numbers. Received: regions.dtype={regions.dtype.name}")
    if regions.shape.rank != 3 or regions.shape[-1] != region_dim:
        one = " Of one image, give `regions[None]`." if regions.shape.rank == 2 else ""
        raise ValueError(
            f"`regions` must be [images, regions, {region_dim}].{one} "
            f"Received: regions.shape={tuple(regions.shape)}"
        )
    if region_mask is None:
        region_mask = tf.ones(tf.shape(regions)[:2], tf.bool)
    region_mask = tf.cast(region_mask, tf.bool)
    if not region_mask.shape.is_compatible_with(regions.shape[:2]):
        raise ValueError(
            f"`region_mask` must be [images, regions], {tuple(regions.shape[:2])}. "
            f"Received: region_mask.shape={tuple(region_mask.shape)}"
        )
    if tf.executing_eagerly():
        empty = np.flatnonzero(~np.any(region_mask, axis=1))
        if len(empty):
            raise ValueError(
                "Every image must have a region. "
                f"Received: none in image {empty[0]} of {len(regions)}"
            )
    return regions, region_mask


def check_captions(captions: Sequence[str] | tf.Tensor) -> tf.Tensor:
    """Checks captions.

    Args:
        captions: n captions as they are written.

    Returns:
        String tensor `[n]`.

    Raises:
        ValueError: if it is one string instead of several, there are none, or one is no string; the
            message names the row.
    """
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
    return tf.constant(captions, tf.string)
