"""The negative curriculum: from random to hardest negatives."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="hslm_tf")
class NegativeCurriculum:
    """Share of a batch's negatives that the hardest one is taken from, by training step.

    With hardest negatives a random start collapses: all scores become equal and the loss stays at
    twice the margin. So training starts with one random negative a query (share 0), then takes the
    hardest of a geometrically growing share (0.02 to 1), then of all (share 1).

    Args:
        random_steps: steps with one random negative.
        growing_steps: steps in which the share grows.

    Raises:
        ValueError: if a length is negative.
    """

    SMALLEST_SHARE = 0.02

    def __init__(self, random_steps: int = 500, growing_steps: int = 500) -> None:
        for name, steps in (("random_steps", random_steps), ("growing_steps", growing_steps)):
            if steps < 0:
                raise ValueError(f"`{name}` must be 0 or more. Received: {name}={steps}")
        self.random_steps = int(random_steps)
        self.growing_steps = int(growing_steps)

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the share at a step, a float32 scalar in [0, 1]."""
        grown = (tf.cast(step, tf.float32) - self.random_steps) / max(self.growing_steps, 1)
        growing = self.SMALLEST_SHARE ** (1.0 - tf.clip_by_value(grown, 0.0, 1.0))
        if self.growing_steps == 0:
            growing = 1.0
        return tf.where(tf.cast(step, tf.int64) < self.random_steps, 0.0, growing)

    def get_config(self) -> dict:
        return {"random_steps": self.random_steps, "growing_steps": self.growing_steps}

    @classmethod
    def from_config(cls, config: dict) -> "NegativeCurriculum":
        return cls(**config)
