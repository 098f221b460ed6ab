"""Training and test step of a retrieval model."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from hslm_tf.layers.custom_gradient import gradients_end_with_graph
from hslm_tf.training.batch_share import BatchShare, num_replicas
from hslm_tf.training.chosen_pairs import rows_of
from hslm_tf.training.curriculum import NegativeCurriculum
from hslm_tf.training.retrieval_loss import BatchLosses, BatchScores, RetrievalLoss, Stage
from hslm_tf.training.triplet_loss import HardestNegativeTripletLoss

WATCHED = ("loss", "active_hinges", "positive_score", "negative_score")


class RetrievalTrainer(keras.Model):
    """A Keras model that learns from the other pairs of the batch.

    Subclasses have `image_encoder`, `text_encoder`, `score_pairs(images, texts)` and
    `score_all(images, texts)`. The encoders run once a step. A triplet loss scores all pairs
    without gradient to choose negatives, then only the chosen pairs with gradient. A contrastive
    loss scores all pairs with gradient (`matrix_loss`).
    """

    def compile(
        self,
        optimizer: str | keras.Optimizer = "adam",
        loss: RetrievalLoss | None = None,
        jit_compile: bool | str = False,
        **kwargs,
    ) -> None:
        """Prepares the model for `fit`.

        Args:
            optimizer: optimizer or its name.
            loss: by default `HardestNegativeTripletLoss` with the default curriculum.
            jit_compile: must not be True: XLA needs fixed sizes, and packed words have none.
            **kwargs: further arguments of `keras.Model.compile`.

        Raises:
            ValueError: if `loss` is no `RetrievalLoss`, `jit_compile` is True, there are metrics or
                weights of losses, which a step would ignore, or the strategy cannot be used.
        """
        if jit_compile is True:
            raise ValueError(
                "A step cannot be compiled with XLA: how many words a batch has, packed, is not "
                f"known before it comes. Received: jit_compile={jit_compile}"
            )
        if tf.distribute.has_strategy():
            _check_strategy(tf.distribute.get_strategy(), kwargs.get("steps_per_execution", 1))
        for name in ("metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"A step reports {', '.join(WATCHED)} and takes no `{name}`; "
                    f"`hslm_tf.evaluate` measures recall. Received: {name}={kwargs[name]}"
                )
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        if loss is not None and not isinstance(loss, RetrievalLoss):
            raise ValueError(
                "`loss` must be a ContrastiveLoss, a HardestNegativeTripletLoss, a LossCurriculum "
                f"or None. Received: loss={loss}"
            )
        if loss is None:
            loss = HardestNegativeTripletLoss(curriculum=NegativeCurriculum())
        self.retrieval_loss = loss
        exclude_from_weight_decay(self.optimizer, self.trainable_variables)
        self._watched = {name: keras.metrics.Mean(name=name) for name in WATCHED}
        self._gradient_norm = keras.metrics.Mean(name="gradient_norm")
        self._candidate_fraction = keras.metrics.Mean(name="candidate_fraction")
        self._skipped_steps = keras.metrics.Sum(name="skipped_steps")

    @property
    def metrics(self) -> list[keras.Metric]:
        """Epoch means of everything that the steps report, and how many had infinite gradients."""
        if not self.compiled:
            return []
        of_training = [self._gradient_norm, self._candidate_fraction, self._skipped_steps]
        return [*self._watched.values(), *of_training]

    @gradients_end_with_graph()
    def train_step(self, data: dict[str, tf.Tensor], stage: Stage = None) -> dict[str, tf.Tensor]:
        """Learns from one batch.

        Args:
            data: dict of `"region_features"` `[batch, regions, region_dim]`, `"region_mask"`
                `[batch, regions]`, `"token_ids"` `[batch, tokens]` and int `"image_index"`
                `[batch]`, equal for captions of the same image. In a replica, its share of these.
            stage: what the loss says of the step; needed where there are several replicas.

        Returns:
            Epoch means by name.

        Raises:
            ValueError: if there are several replicas and no stage, as in `fit`.
        """
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if num_replicas() > 1 and stage is None:
            raise ValueError(
                "`fit` cannot train on several devices: hardest negatives of the whole batch are "
                "mined by `python -m hslm_tf.train --strategy` and `hslm_tf.training.staged_step`. "
                f"Received: strategy={type(tf.distribute.get_strategy()).__name__}"
            )
        step = self.optimizer.iterations
        candidate_fraction = self.retrieval_loss.candidate_fraction(step)
        share = None
        if num_replicas() > 1:
            share = BatchShare(tf.shape(data["image_index"])[0])
        with tf.GradientTape() as tape:
            losses = self._batch_losses(data, step, training=True, share=share, stage=stage)
            scaled_loss = self.optimizer.scale_loss(losses.loss) / num_replicas()
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        gradients = [
            # A contrastive loss on global vectors gives the layers of local vectors no gradient.
            tf.zeros(variable.shape, variable.dtype)
            if gradient is None
            # The embedding's gradient has a slice for each word of the batch. Clipping and Adam's
            # moments would square the slices of a repeated word one by one, not their sum.
            else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, self.trainable_variables, strict=True)
        ]
        if share is not None:
            gradients = share.mean_of_sum(gradients)
        # Under mixed_float16 the gradients still carry the loss scale.
        norm = tf.linalg.global_norm(gradients) * num_replicas() / self.optimizer.scale_loss(1.0)
        self.optimizer.apply(gradients, self.trainable_variables)
        # Loss scaling skips steps that overflow; the mean is over the others.
        finite = tf.math.is_finite(norm)
        self._gradient_norm.update_state(
            tf.where(finite, norm, 0.0), sample_weight=tf.cast(finite, tf.float32)
        )
        # Replicas add up their sums, but they all mean the same step.
        self._skipped_steps.update_state(tf.cast(~finite, tf.float32) / num_replicas())
        self._candidate_fraction.update_state(candidate_fraction)
        return self._report(losses)

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Measures the loss that training ends with on one batch, over all negatives."""
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        losses = self._batch_losses(data, step=tf.int64.max, training=False)
        results = self._report(losses)
        return {name: results[name] for name in WATCHED}

    def _batch_losses(
        self,
        data: dict[str, tf.Tensor],
        step: tf.Tensor,
        training: bool,
        share: BatchShare | None = None,
        stage: Stage = None,
    ) -> BatchLosses:
        images = self.image_encoder(
            {key: data[key] for key in ("region_features", "region_mask")}, training=training
        )
        texts = self.text_encoder({"token_ids": data["token_ids"]}, training=training)
        index, tokens = data["image_index"], data["token_ids"]
        if share is None:
            scores = BatchScores(
                matrix_loss=lambda loss, on: self.matrix_loss(loss, images, texts, on),
                constant_matrix=lambda: self.score_all(_constant(images), _constant(texts)),
                rows=lambda *rows: self.score_rows(images, texts, *rows),
            )
        else:
            all_images, all_texts = share.gather(images), share.gather(texts)
            index, tokens = share.gather({"index": index, "tokens": tokens}).values()
            scores = BatchScores(
                matrix_loss=lambda loss, on: self.matrix_loss(
                    share.on_all(loss), images, all_texts, on
                ),
                constant_matrix=lambda: share.gather_rows(
                    self.score_all(_constant(images), _constant(all_texts))
                ),
                rows=lambda *rows: share.rows(
                    lambda *own: self.score_rows(all_images, all_texts, *own), *rows
                ),
            )
        return self.retrieval_loss.on_batch(scores, index, tokens, step, stage)

    def matrix_loss(
        self,
        loss: Callable[[tf.Tensor], BatchLosses],
        images: dict[str, tf.Tensor],
        texts: dict[str, tf.Tensor],
        on: str = "score",
    ) -> BatchLosses:
        """Computes a loss on the scores of all images and captions, to be differentiated.

        Args:
            loss: called with the scores, `[n, m]`.
            images: output of `image_encoder` for n images.
            texts: output of `text_encoder` for m captions.
            on: what to score: `"score"`, `"global"` (a model without separate global vectors takes
                the score), or `"alignment"`, the mean cosine of words and what they attend to.

        Returns:
            What `loss` returned.
        """
        return loss(self.score_all(images, texts))

    def score_rows(
        self,
        images: dict[str, tf.Tensor],
        texts: dict[str, tf.Tensor],
        image_rows: tf.Tensor,
        text_rows: tf.Tensor,
    ) -> tf.Tensor:
        """Scores image `image_rows[i]` against caption `text_rows[i]`.

        Args:
            images: output of `image_encoder`.
            texts: output of `text_encoder`.
            image_rows: int `[pairs]`.
            text_rows: int `[pairs]`.

        Returns:
            `[pairs]`.
        """
        return self.score_pairs(rows_of(images, image_rows), rows_of(texts, text_rows))

    def _report(self, losses: BatchLosses) -> dict[str, tf.Tensor]:
        for name, metric in self._watched.items():
            metric.update_state(getattr(losses, name))
        results = {metric.name: metric.result() for metric in self.metrics}
        return {**results, "skipped_steps": results["skipped_steps"] * num_replicas()}

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "loss": keras.saving.serialize_keras_object(self.retrieval_loss),
            "optimizer_built": self.optimizer.built,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict) -> None:
        if not config:
            return
        config = keras.saving.deserialize_keras_object(config)
        # A file without the optimizer's state, such as a run's best model, begins with a new one.
        built = config.pop("optimizer_built", True)
        self.compile(**config)
        if built:
            self.optimizer.build(self.trainable_variables)


def exclude_from_weight_decay(
    optimizer: keras.Optimizer, variables: Sequence[keras.Variable]
) -> None:
    """Excludes biases, norms and scales from weight decay.

    These are all vectors and scalars, and the biases of recurrent layers, which are matrices.

    Args:
        optimizer: an optimizer that is not built yet, or a wrapper for loss scaling around one.
        variables: the variables that it will train.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.weight_decay:
        spared = [v for v in variables if len(v.shape) < 2 or v.path.endswith("/bias")]
        inner.exclude_from_weight_decay(spared)


def _check_strategy(strategy: tf.distribute.Strategy, steps_per_execution: int) -> None:
    allowed = (
        tf.distribute.MirroredStrategy,
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.OneDeviceStrategy,
    )
    if not isinstance(strategy, allowed):
        raise ValueError(
            "A model can be trained under MirroredStrategy or MultiWorkerMirroredStrategy; a TPU "
            "needs sizes that are known before a batch comes, and packed words have none. "
            f"Received: strategy={type(strategy).__name__}"
        )
    if steps_per_execution != 1:
        raise ValueError(
            "Several devices learn one step at a time: Keras cannot run several in one call there. "
            f"Received: steps_per_execution={steps_per_execution}"
        )


def _constant(encoding: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {key: tf.stop_gradient(value) for key, value in encoding.items()}
