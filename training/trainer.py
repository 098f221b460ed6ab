"""Training and test step of a retrieval model."""

import sys
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from hslm_tf.layers.custom_gradient import gradients_end_with_graph
from hslm_tf.training.batch import checked_arrays, completed_batch
from hslm_tf.training.curriculum import NegativeCurriculum
from hslm_tf.training.replicas import num_replicas, of_first_replica, summed
from hslm_tf.training.retrieval_loss import BatchLosses, RetrievalLoss, ScoredBatch, Stage
from hslm_tf.training.triplet_loss import HardestNegativeTripletLoss

WATCHED = ("loss", "active_hinges", "positive_score", "negative_score")


class RetrievalTrainer(keras.Model):
    """A Keras model that learns from the other pairs of the batch.

    Subclasses have `image_encoder`, `text_encoder` and `score_all(images, texts)`, the scores of
    all encoded images and captions, `[n, m]`. For losses that choose pairs they also have
    `score_rows(images, texts, image_rows, text_rows)`, the scores of these pairs with gradient.

    The encoders run once a step. The loss decides which pairs are scored, and whether with
    gradient: see `ScoredBatch`.

    A batch is a dict of `"region_features"` `[b, N, F]` and int32 `"token_ids"` `[b, M]`, or, for a
    model with a `tokenizer`, `"captions"` as strings `[b]`. Optional are boolean `"region_mask"`
    `[b, N]`, by default all regions, `"image_index"` `[b]`, by default one image a caption, and
    `"token_states"`, what the frozen layers of a text encoder make of the captions.

    Under `tf.distribute.MirroredStrategy` devices share each batch. Negatives are those of the
    whole batch, so that several devices learn what one learns.
    """

    tokenizer: Callable[[tf.Tensor], tf.RaggedTensor] | None = None

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
                "`loss` must be a RetrievalLoss, such as HardestNegativeTripletLoss, or None. "
                f"Received: loss={loss}"
            )
        if loss is None:
            loss = HardestNegativeTripletLoss(curriculum=NegativeCurriculum())
        self.retrieval_loss = loss
        self._stage = loss.at(0)
        variables = self.trainable_variables
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if inner.weight_decay:
            # Biases, norms and scales. The bias of a recurrent layer is a matrix.
            spared = [v for v in variables if len(v.shape) < 2 or v.path.endswith("/bias")]
            inner.exclude_from_weight_decay(spared)
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

    def fit(
        self, x: Any = None, *args: Any, callbacks: Any = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does; each epoch with the losses whose turn it is."""
        # A step's graph cannot make variables; loss scaling built twice would forget its scale.
        if self.compiled and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [_StageOfEpoch(), *(callbacks or ())]
        if kwargs.get("validation_data") is not None:
            x_y_weight = keras.utils.unpack_x_y_sample_weight(kwargs["validation_data"])
            kwargs["validation_data"] = checked_arrays(x_y_weight[0]), *x_y_weight[1:]
        return super().fit(checked_arrays(x), *args, callbacks=callbacks, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Measures the loss as `keras.Model.evaluate` does."""
        return super().evaluate(checked_arrays(x), *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Scores aligned pairs as `keras.Model.predict` does."""
        return super().predict(checked_arrays(x), *args, **kwargs)

    def enter_stage(self, stage: Stage) -> None:
        """Makes the next steps those of a stage, in a graph that holds nothing of other stages."""
        if stage != self._stage:
            self._stage = stage
            self.make_train_function(force=True)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: the model is built. Keras would take a batch out of the first epoch."""

    @gradients_end_with_graph()
    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Learns from one batch (a replica: from its share), what `training_batches` yields."""
        step = tf.cast(self.optimizer.iterations, tf.int64)
        with tf.GradientTape() as tape:
            losses = self._batch_losses(data, self._stage, step, training=True)
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
        gradients = summed(gradients)
        # Under mixed_float16 the gradients still carry the loss scale.
        norm = tf.linalg.global_norm(gradients) / self.optimizer.scale_loss(1.0)
        self.optimizer.apply(of_first_replica(gradients), self.trainable_variables)
        # Loss scaling skips steps that overflow; the mean is over the others.
        finite = tf.math.is_finite(norm)
        self._gradient_norm.update_state(
            tf.where(finite, norm, 0.0), sample_weight=tf.cast(finite, tf.float32)
        )
        # Replicas add up their sums, but they all mean the same step.
        self._skipped_steps.update_state(tf.cast(~finite, tf.float32) / num_replicas())
        self._candidate_fraction.update_state(losses.candidate_fraction)
        return self._report(losses)

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Measures the loss that training ends with on one batch, over all negatives."""
        last = tf.constant(tf.int64.max)
        losses = self._batch_losses(data, self.retrieval_loss.at(sys.maxsize), last, training=False)
        results = self._report(losses)
        return {name: results[name] for name in WATCHED}

    def _batch_losses(
        self, data: dict[str, tf.Tensor], stage: Stage, step: tf.Tensor, training: bool
    ) -> BatchLosses:
        data = completed_batch(data, self.tokenizer)
        images = self.image_encoder(
            {key: data[key] for key in ("region_features", "region_mask")}, training=training
        )
        if "token_states" in data:
            known = [data["token_ids"], data["token_states"]]
            texts = self.encoder_of_states()(known, training=training)
        else:
            texts = self.text_encoder({"token_ids": data["token_ids"]}, training=training)
        batch = ScoredBatch(
            self, images, texts, data.get("image_index"), data["token_ids"], step - stage.first_step
        )
        return stage.loss(batch)

    def score_matrix(
        self, images: dict[str, tf.Tensor], texts: dict[str, tf.Tensor], on: str = "score"
    ) -> tf.Tensor:
        """Scores all images against all captions with gradient, see `ScoredBatch.all_scores`."""
        return self.score_all(images, texts)

    def _report(self, losses: BatchLosses) -> dict[str, tf.Tensor]:
        for name, metric in self._watched.items():
            metric.update_state(getattr(losses, name))
        results = {metric.name: metric.result() for metric in self.metrics}
        return {**results, "skipped_steps": results["skipped_steps"] * num_replicas()}

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        return {
            # In the optimizer's own entry, where `keras.models.clone_model` passes over it.
            "optimizer": keras.saving.serialize_keras_object(self.optimizer)
            | {"built": self.optimizer.built},
            "loss": keras.saving.serialize_keras_object(self.retrieval_loss),
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: dict) -> None:
        if not config:
            return
        # A file without the optimizer's state, such as a run's best model, begins with a new one.
        built = config["optimizer"].get("built", config.get("optimizer_built", True))
        config = keras.saving.deserialize_keras_object(config)
        # Files of earlier versions say it here.
        config.pop("optimizer_built", None)
        self.compile(**config)
        if built:
            self.optimizer.build(self.trainable_variables)


def _check_strategy(strategy: tf.distribute.Strategy, steps_per_execution: int) -> None:
    if not isinstance(strategy, tf.distribute.MirroredStrategy | tf.distribute.OneDeviceStrategy):
        raise ValueError(
            "A model can be trained under MirroredStrategy: a TPU needs sizes that are known "
            "before a batch comes, and packed words have none; several machines are not supported. "
            f"Received: strategy={type(strategy).__name__}"
        )
    if steps_per_execution != 1:
        raise ValueError(
            "Several devices learn one step at a time: Keras cannot run several in one call there. "
            f"Received: steps_per_execution={steps_per_execution}"
        )


class _StageOfEpoch(keras.callbacks.Callback):
    """Has the model enter the stage that most steps of an epoch belong to."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # Loss scaling leaves steps out, so an epoch may begin a few steps early by this count.
        begun = int(self.model.optimizer.iterations.numpy())
        middle = begun + (self.params.get("steps") or 0) // 2
        self.model.enter_stage(self.model.retrieval_loss.at(middle))
