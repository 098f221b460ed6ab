"""HSLM in the smallest sizes that still have every part, and batches for it."""

import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.training.retrieval_loss import BatchLosses

WORDS = ("<pad>", "<start>", "<end>", "<unk>", *"a an the red big dog cat boy runs sits on".split())
WORDS += ("grass", "water", "with", "ball", "hat")
SIZES = {
    "region_dim": 12,
    "max_regions": 6,
    "joint_dim": 16,
    "word_dim": 8,
    "similarity_dim": 8,
    "mgcn_layers": 2,
}


# What the weights of some layers are multiplied by, by a part of their path. Words and regions
# should not look all alike, nor attend to all alike, or gradients would vanish in rounding.
GAINS = {"update": 0.3, "gru_cell/kernel": 4.0, "pooling": 2.0, "similarity_fusion/score": 3.0}


def randomize_model(model: HSLM, seed: int = 0) -> None:
    """Draws every weight, zeros from initialization included, so that each one matters."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if variable.path.endswith("cross_attention/gamma"):
            variable.assign(rng.uniform(8.0, 12.0))
            continue
        deviation = 0.1 if len(variable.shape) == 1 else variable.shape[0] ** -0.5
        for part, gain in GAINS.items():
            deviation *= gain if part in variable.path else 1.0
        variable.assign(rng.normal(0.0, deviation, variable.shape))


def random_images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Region features `[count, 6, 12]` with garbage behind the 2 to 6 real ones, and their mask."""
    rng = np.random.default_rng(seed)
    mask = np.arange(SIZES["max_regions"]) < rng.integers(2, 7, (count, 1))
    regions = rng.normal(size=(*mask.shape, SIZES["region_dim"]))
    return np.where(mask[..., None], regions, 100 * regions), mask


def random_token_ids(count: int, seed: int = 0) -> np.ndarray:
    """Token ids `[count, 10]` of captions of 3 to 10 tokens, padded with 0."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 11, (count, 1))
    places = np.arange(10)
    token_ids = rng.integers(3, len(WORDS), (count, 10))
    token_ids[:, 0] = WORDS.index("<start>")
    token_ids[places == lengths - 1] = WORDS.index("<end>")
    return np.where(places < lengths, token_ids, 0).astype("int32")


def losses_at(
    model: HSLM, batch: dict[str, tf.Tensor], step: int, training: bool = False
) -> BatchLosses:
    """What the training step differentiates at a step."""
    stage = model.retrieval_loss.at(step)
    return model._batch_losses(batch, stage, tf.constant(step, tf.int64), training)


def random_batch(image_index: list[int] | np.ndarray, seed: int = 0) -> dict[str, tf.Tensor]:
    """A training batch of pairs; equal indices have the same image."""
    image_index = np.asarray(image_index, "int32")
    regions, mask = random_images(image_index.max() + 1, seed)
    return {
        "region_features": tf.constant(regions[image_index], tf.float32),
        "region_mask": tf.constant(mask[image_index]),
        "token_ids": tf.constant(random_token_ids(len(image_index), seed)),
        "image_index": tf.constant(image_index),
    }
