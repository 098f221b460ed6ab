"""Training batches from a dataset on disk."""

import itertools
import math
from typing import Protocol

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset


class Tokens(Protocol):
    """Captions as token ids, such as `hslm_tf.text.tokenizer.TokenizedCaptions`."""

    def __len__(self) -> int:
        """Number of captions."""

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Token ids of some captions, int32 `[len(rows), longest]`, 0 after the last token."""


class States(Protocol):
    """Captions after frozen layers, such as `hslm_tf.runs.token_states.TokenStates`."""

    width: int

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """States of some captions, float16 `[len(rows), longest + 2, width]`."""


def epoch_order(num_captions: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the captions in an epoch, a function of the arguments alone."""
    return np.random.default_rng((seed, epoch)).permutation(num_captions)


def captions_of_step(
    num_captions: int, batch_size: int, seed: int, epoch: int, step: int
) -> np.ndarray:
    """The captions of a batch."""
    order = epoch_order(num_captions, seed, epoch)
    return order[step * batch_size : (step + 1) * batch_size]


def steps_per_epoch(dataset: RetrievalDataset, batch_size: int, replicas: int = 1) -> int:
    """Number of batches in an epoch, the short last one included."""
    smallest = (dataset.num_captions - 1) % batch_size + 1
    if smallest < replicas:
        raise ValueError(
            f"The smallest batch of an epoch, {dataset.num_captions} captions in batches of "
            f"{batch_size}, has {smallest} pairs, and {replicas} devices share it: choose another "
            f"batch size. Received: batch_size={batch_size}"
        )
    return math.ceil(dataset.num_captions / batch_size)


def training_batches(
    dataset: RetrievalDataset,
    tokens: Tokens,
    batch_size: int,
    seed: int = 0,
    start_epoch: int = 0,
    start_step: int = 0,
    states: States | None = None,
) -> tf.data.Dataset:
    """Shuffled pairs of an image and one of its captions.

    One pass is one epoch over the captions; the first pass is `start_epoch` and every further
    pass the next epoch. The order of an epoch is `epoch_order(...)`. Region features are gathered
    from disk and checked batch by batch.

    Args:
        dataset: the training split.
        tokens: its captions as token ids.
        batch_size: pairs in a batch; the last batch of an epoch may be smaller.
        seed: seed of the order.
        start_epoch: epoch of the first pass.
        start_step: batches of the first pass to leave out; then there is no other pass.
        states: what the frozen layers of a transformer make of the captions.

    Returns:
        Batches of `region_features` float32 `[b, N, F]`, `region_mask` bool `[b, N]`, `token_ids`
        int32 `[b, M]` (0 is padding) and `image_index` int32 `[b]`, the image of each pair; with
        `states` also `token_states` float16 `[b, M + 2, width]`.

    Raises:
        ValueError: if `tokens` and `dataset` differ in length, or `batch_size` is not positive.

    Example:
        >>> tokens = model.tokenizer.tokenize_all(dataset.captions)
        >>> batches = hslm_tf.training_batches(dataset, tokens, batch_size=16)
        >>> print(next(iter(batches))["region_features"].shape)
    """
    if len(tokens) != dataset.num_captions:
        raise ValueError(
            f"tokens and captions differ in number ({dataset.num_captions} captions in "
            f"{dataset.source}). Received: len(tokens)={len(tokens)}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: batch_size={batch_size}")
    epochs = itertools.count(start_epoch)

    def next_order() -> np.ndarray:
        epoch = next(epochs)
        done = start_step * batch_size if epoch == start_epoch else 0
        return epoch_order(dataset.num_captions, seed, epoch)[done:]

    def gather(captions: np.ndarray) -> tuple[np.ndarray, ...]:
        images = dataset.caption_to_image[captions]
        of_tokens = () if states is None else (states.padded(captions),)
        return *dataset.read_images(images), tokens.padded(captions), images, *of_tokens

    def batch(captions: tf.Tensor) -> dict[str, tf.Tensor]:
        types = [tf.float32, tf.bool, tf.int32, tf.int32]
        types += [] if states is None else [tf.float16]
        regions, mask, ids, images, *of_tokens = tf.numpy_function(
            gather, [captions], types, stateful=False
        )
        shape = [None, dataset.max_regions, dataset.region_dim]
        read = {
            "region_features": tf.ensure_shape(regions, shape),
            "region_mask": tf.ensure_shape(mask, shape[:2]),
            "token_ids": tf.ensure_shape(ids, [None, None]),
            "image_index": tf.ensure_shape(images, [None]),
        }
        if states is not None:
            read["token_states"] = tf.ensure_shape(*of_tokens, [None, None, states.width])
        return read

    def captions_of_next_epoch(_: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(next_order, [], tf.int64, stateful=True)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, [None]))

    # Batches are large: one is read while another waits. Without `num_parallel_calls` tf.data would
    # read one on every core.
    batches = (
        tf.data.Dataset.range(1)
        .flat_map(captions_of_next_epoch)
        .batch(batch_size)
        .map(batch, num_parallel_calls=1, deterministic=True)
    )
    count = steps_per_epoch(dataset, batch_size) - start_step
    return batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(1)
