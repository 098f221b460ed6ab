"""One loss after another: contrastive first, then the paper's objective."""

import keras

from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss, Stage
from hslm_tf.training.scored_batch import ScoredBatch


@keras.saving.register_keras_serializable(package="hslm_tf")
class LossCurriculum(RetrievalLoss):
    """Begins with one loss and ends in another, such as a contrastive loss and HSLM Eq. 23.

    With hardest negatives a random start learns nothing: all scores become equal. So a contrastive
    loss over all pairs comes first.

    Args:
        first: loss of the first steps, such as `ContrastiveLoss`.
        then: loss of all further steps, such as `HardestNegativeTripletLoss`.
        first_steps: number of steps with the first loss. The second one begins with an epoch: with
            the first in which most of the steps are its own.

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

    def at(self, step: int) -> Stage:
        if step < self.first_steps:
            return self.first.at(step)
        loss, first_step = self.then.at(step - self.first_steps)
        return Stage(loss, self.first_steps + first_step)

    def __call__(self, batch: ScoredBatch) -> BatchLosses:
        raise TypeError(
            "A curriculum computes nothing itself: call `at(step).loss`. "
            f"Received: batch={type(batch).__name__}"
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
