"""Random dropping of whole regions and words while training (VSE-infinity, size augmentation)."""

import keras
import tensorflow as tf
from keras import ops


class _SizeAugmentation(keras.layers.Layer):
    """Chooses at random which regions or words stay."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def _kept(self, mask: tf.Tensor) -> tf.Tensor:
        """Boolean like `mask`: the real entries that stay; always the first of each row."""
        noise = keras.random.uniform(ops.shape(mask), dtype="float32", seed=self.seed_generator)
        first = ops.arange(ops.shape(mask)[-1], dtype="int32") == 0
        return ops.logical_and(mask, ops.logical_or(noise >= self.rate, first))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="hslm_tf")
class RegionDropping(_SizeAugmentation):
    """Drops a share of the regions of every image while training (VSE-infinity Sec. 3.3).

    Args:
        rate: probability that a region is dropped; the first region always stays.
        seed: seed of the random numbers.

    Call arguments:
        region_mask: boolean `[batch, regions]`, True for real regions.
        training: drops at training time only.

    Returns:
        Boolean `[batch, regions]`.
    """

    def call(self, region_mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self._kept(region_mask) if training and self.rate else region_mask


@keras.saving.register_keras_serializable(package="hslm_tf")
class WordDropping(_SizeAugmentation):
    """Drops a share of the words of every caption while training (VSE-infinity Sec. 3.3).

    The kept words move to the left: the caption is as if it had been written without the others.

    Args:
        rate: probability that a word is dropped; the first token, `<start>`, always stays.
        seed: seed of the random numbers.

    Call arguments:
        token_ids: int `[batch, tokens]`, 0 for padding on the right.
        training: drops at training time only.

    Returns:
        `[batch, tokens]` like `token_ids`.
    """

    def call(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self.rate:
            return token_ids
        kept = self._kept(token_ids != 0)
        positions = ops.arange(ops.shape(token_ids)[-1], dtype="int32")
        # Dropped words sort behind the kept ones, which stay in order.
        order = ops.argsort(ops.where(kept, positions, positions + ops.size(positions)), axis=-1)
        return ops.take_along_axis(ops.where(kept, token_ids, 0), order, axis=-1)
