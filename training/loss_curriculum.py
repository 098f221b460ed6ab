"""One loss after another: contrastive first, then the paper's objective."""

import keras
import tensorflow as tf

from hslm_tf.training.retrieval_loss import BatchLosses, BatchScores, RetrievalLoss, Stage, either


@keras.saving.register_keras_serializable(package="hslm_tf")
class LossCurriculum(RetrievalLoss):
    """Begins with one loss and ends in another, such as a contrastive loss and HSLM Eq. 23.

    With hardest negatives a random start learns nothing: all scores become equal. So a contrastive
    loss over all pairs comes first.

    Args:
        first: loss of the first steps, such as `ContrastiveLoss`.
        then: loss of all further steps, such as `HardestNegativeTripletLoss`.
        first_steps: number of steps with the first loss.

    Raises:
        ValueError: if `first_steps` is negative.
    """

    def __init__(self, first: RetrievalLoss, then: RetrievalLoss, first_steps: int) -> None:
        super().__init__(then.same_image_negatives, then.same_text_negatives)
        if first_steps < 0:
            raise ValueError(
                f"`first_steps` must be 0 or more. Received: first_steps={first_steps}"
            )
        self.first = first
        self.then = then
        self.first_steps = int(first_steps)

    def on_batch(
        self,
        scores: BatchScores,
        image_index: tf.Tensor,
        token_ids: tf.Tensor,
        step: tf.Tensor,
        stage: Stage = None,
    ) -> BatchLosses:
        since = tf.cast(step, tf.int64) - self.first_steps
        in_first, *inner = (since < 0, None) if stage is None else stage
        batch = (scores, image_index, token_ids)
        return BatchLosses(
            *either(
                in_first,
                lambda: tuple(self.first.on_batch(*batch, step, *inner)),
                lambda: tuple(self.then.on_batch(*batch, since, *inner)),
            )
        )

    def stage(self, step: int) -> Stage:
        if step < self.first_steps:
            return (True, self.first.stage(step))
        return (False, self.then.stage(step - self.first_steps))

    def candidate_fraction(self, step: tf.Tensor) -> tf.Tensor:
        since = tf.cast(step, tf.int64) - self.first_steps
        return tf.where(
            since < 0, self.first.candidate_fraction(step), self.then.candidate_fraction(since)
        )

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
