"""Curricula: from random to hardest negatives, and from one loss to another."""

import keras
import tensorflow as tf

from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss, ScoredBatch, Stage


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


@keras.saving.register_keras_serializable(package="hslm_tf")
class LossCurriculum(RetrievalLoss):
    """Begins with one loss and ends in another, such as a contrastive loss and HSLM Eq. 23.

    With hardest negatives a random start learns nothing: all scores become equal. So a contrastive
    loss over all pairs comes first.

    Args:
        first: loss of the first steps, such as `ContrastiveLoss`.
        then: loss of all further steps, such as `HardestNegativeTripletLoss`.
        first_steps: number of steps with the first loss. The second one begins with an epoch: the
            first one in which most steps are after these.

    Raises:
        ValueError: if `first_steps` is negative.
    """

    def __init__(self, first: RetrievalLoss, then: RetrievalLoss, first_steps: int) -> None:
        super().__init__(then.same_text_negatives)
        if first_steps < 0:
            raise ValueError(
                f"`first_steps` must be 0 or more. Received: first_steps={first_steps}"
            )
        self.first = first
        self.then = then
        self.first_steps = int(first_steps)

    def at(self, step: int) -> Stage:
        if step < self.first_steps:
            return self.first.at(step)
        loss, first_step = self.then.at(step - self.first_steps)
        return Stage(loss, self.first_steps + first_step)

    def __call__(self, batch: ScoredBatch) -> BatchLosses:
        """Computes the loss that training ends with."""
        return self.then(batch)

    def get_config(self) -> dict:
        return {
            "first": keras.saving.serialize_keras_object(self.first),
            "then": keras.saving.serialize_keras_object(self.then),
            "first_steps": self.first_steps,
        }

    @classmethod
    def from_config(cls, config: dict) -> "LossCurriculum":
        losses = {
            key: keras.saving.deserialize_keras_object(config[key]) for key in ("first", "then")
        }
        return cls(**losses, first_steps=config["first_steps"])
