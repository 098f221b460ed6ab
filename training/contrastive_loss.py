"""Contrastive loss over all pairs of the batch."""

import keras
import tensorflow as tf

from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss, ScoredBatch

# The mean cosine of a caption's words differs from image to image about a quarter as much as the
# score does.
_ALIGNMENT_SCALE = 4.0
# Weight of the alignment after its first steps. With more, words learn the training captions by
# heart, and look at small details instead of what they name (docs/history/pointing.md).
_LATER_WEIGHT = 0.1


@keras.saving.register_keras_serializable(package="hslm_tf")
class ContrastiveLoss(RetrievalLoss):
    """Cross-entropy of finding each image's caption and each caption's image in the batch.

    With scores S and scale t the loss is the mean over the pairs i of
    `-(log softmax_j(t S_ij)[i] + log softmax_j(t S_ji)[i]) / 2`, where j runs over the pair and its
    negatives (InfoNCE, as in CLIP). Captions of the same image, and captions with the same tokens,
    are not negatives of one another. A model whose scores are all equal has a loss of log(batch).

    All pairs receive a gradient. So a model learns fast from a random start, where it collapses
    with hardest negatives alone.

    Args:
        scale: the scale t. It is fixed, but the score's last linear map is trained, and larger
            weights there have the same effect as a larger scale.
        on: `"score"` compares whole scores. `"global"` compares those of the global vectors alone,
            which takes a fraction of the time; a model without a global vector of the image
            takes the score. `"parts"` adds to that loss a second one on the local alignment
            alone: the mean cosine of words and the vectors that they attend to. So words find their
            regions, at a fraction of the time of the whole score. In a batch of more than 128
            pairs, each half is aligned by itself. `"alignment"` is this second loss alone, for a
            model without global vectors.
        same_text_negatives: lets captions with the same tokens be negatives.
        alignment_steps: steps in which the second loss of `"parts"` counts as much as the first;
            later it counts a tenth. None: all steps.

    Raises:
        ValueError: if `scale` is not positive, `on` is unknown or `alignment_steps` is negative.
    """

    def __init__(
        self,
        scale: float = 10.0,
        on: str = "score",
        same_text_negatives: bool = False,
        alignment_steps: int | None = None,
    ) -> None:
        super().__init__(same_text_negatives)
        if scale <= 0:
            raise ValueError(f"`scale` must be positive. Received: scale={scale}")
        if on not in ("score", "global", "parts", "alignment"):
            raise ValueError(
                f"`on` must be 'score', 'global', 'parts' or 'alignment'. Received: on={on}"
            )
        if alignment_steps is not None and alignment_steps < 0:
            raise ValueError(
                f"`alignment_steps` must be 0 or more. Received: alignment_steps={alignment_steps}"
            )
        self.scale = scale
        self.on = on
        self.alignment_steps = alignment_steps

    def __call__(self, batch: ScoredBatch) -> BatchLosses:
        negatives = self.negatives(batch)
        if self.on in ("score", "global"):
            return self.of_matrix(batch.all_scores(self.on), negatives)
        scale = _ALIGNMENT_SCALE * self.scale
        alignment = self.of_matrix(batch.all_scores("alignment"), negatives, scale)
        if self.on == "alignment":
            return alignment
        whole = self.of_matrix(batch.all_scores("global"), negatives)
        weight = tf.ones([], alignment.loss.dtype)
        if self.alignment_steps is not None:
            first = tf.cast(batch.step, tf.int64) < self.alignment_steps
            weight = tf.where(first, weight, _LATER_WEIGHT)
        # The log shows the scores of the global vectors: they have the scale of whole scores.
        return whole._replace(loss=whole.loss + weight * alignment.loss)

    def of_matrix(
        self, scores: tf.Tensor, admissible: tf.Tensor, scale: float | None = None
    ) -> BatchLosses:
        """Computes the loss from scores and negatives `[batch, batch]`, images x captions."""
        scale = self.scale if scale is None else scale
        positive = tf.linalg.diag_part(scores)
        entropies, hardest = [], []
        for queries, allowed in ((scores, admissible), (tf.transpose(scores), admissible)):
            negatives = tf.where(allowed, queries, -1e30)
            logits = scale * tf.linalg.set_diag(negatives, positive)
            entropies.append(tf.reduce_logsumexp(logits, axis=1) - scale * positive)
            hardest.append(tf.reduce_max(negatives, axis=1))
        has_negative = tf.reduce_any(admissible, axis=1)[None]
        hardest = tf.where(has_negative, tf.stack(hardest), 0)
        count = 2 * tf.math.count_nonzero(has_negative, dtype=scores.dtype)
        above = has_negative & (hardest > positive)
        return BatchLosses(
            loss=tf.reduce_mean(tf.add_n(entropies)) / 2,
            active_hinges=tf.math.divide_no_nan(
                tf.math.count_nonzero(above, dtype=scores.dtype), count
            ),
            positive_score=tf.reduce_mean(positive),
            negative_score=tf.math.divide_no_nan(tf.reduce_sum(hardest), count),
        )

    def get_config(self) -> dict:
        return {
            "scale": self.scale,
            "on": self.on,
            "alignment_steps": self.alignment_steps,
            **super().get_config(),
        }
