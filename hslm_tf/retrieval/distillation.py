"""Distills a model's scores into projection heads."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.layers.custom_gradient import gradients_end_with_graph
from hslm_tf.models.fingerprint import model_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.caption_encodings import CaptionEncodings
from hslm_tf.retrieval.distillation_config import DistillationConfig
from hslm_tf.retrieval.image_encodings import ImageEncodings
from hslm_tf.retrieval.projection_heads import ProjectionHeads, new_heads


def distill(
    model: HSLM,
    dataset: RetrievalDataset,
    config: DistillationConfig,
    progress: Callable[[float], None] | None = None,
) -> ProjectionHeads:
    """Fits projection heads to a model's scores; the model stays as it is.

    Every step draws a block of images and captions, has the model score all its pairs, and moves
    the heads so that softmaxes over inner products resemble softmaxes over scores, in both
    directions. Half of a block lies close together according to the current heads: such items are
    hard to tell apart when candidates are chosen.

    Args:
        model: the model whose scores are learned.
        dataset: images and captions, the split that the model was trained on.
        config: how the heads learn.
        progress: called with the loss after every step.

    Returns:
        The heads.
    """
    random = np.random.default_rng(config.seed)
    keras.utils.set_random_seed(config.seed)
    chosen = random.permutation(dataset.num_images)[: config.max_images]
    images = ImageEncodings.encode(model, dataset, chosen)
    own = np.flatnonzero(np.isin(dataset.caption_to_image, chosen))
    captions = CaptionEncodings.encode(model, [dataset.captions[row] for row in own])

    heads = new_heads(
        model.config.joint_dim,
        config.dim,
        config.attentions,
        config.concepts,
        model_fingerprint(model),
    )
    step = _Step(heads, config)
    drawn = []
    for number in range(config.steps):
        if number % _REFRESH == 0:
            vectors = (
                tf.constant(images.vectors(heads)),
                tf.constant(captions.vectors(heads)),
            )
        rows, columns = _draw_block(*vectors, config, random)
        block = images.read(rows), captions.read(columns)
        scores = model.score_encoded(*block)
        drawn.append((rows, columns, scores.numpy()))
        loss = step(*block, scores)
        for other in random.integers(len(drawn), size=config.replay_steps):
            rows, columns, scores = drawn[other]
            step(images.read(rows), captions.read(columns), tf.constant(scores))
        if progress is not None:
            progress(float(loss))
    return heads


# Steps after which the vectors, by which close items are found, are computed again.
_REFRESH = 25


def _draw_block(
    image_vectors: tf.Tensor,
    caption_vectors: tf.Tensor,
    config: DistillationConfig,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Half of the images and captions close to a random caption, half anywhere."""
    query = caption_vectors[random.integers(len(caption_vectors))]
    drawn = []
    for vectors, size in (
        (image_vectors, config.images_a_step),
        (caption_vectors, config.captions_a_step),
    ):
        size = min(size, len(vectors))
        products = tf.linalg.matvec(vectors, query).numpy()
        near = np.argpartition(-products, size // 2)[: size // 2]
        others = np.setdiff1d(np.arange(len(vectors)), near)
        drawn.append(np.concatenate([near, random.choice(others, size - len(near), False)]))
    return drawn[0], drawn[1]


class _Step:
    """One step of the heads towards given scores."""

    def __init__(self, heads: ProjectionHeads, config: DistillationConfig) -> None:
        self._heads = heads
        self._temperature = config.temperature
        # Learned factor of the inner products, which are at most 1, before their softmax.
        self._log_scale = keras.Variable(np.log(20.0), dtype="float32", name="log_scale")
        heads = heads.image_head, heads.text_head
        self._variables = [v for head in heads for v in head.trainable_variables]
        self._variables.append(self._log_scale)
        steps = config.steps * (1 + config.replay_steps)
        self._optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(config.learning_rate, steps), global_clipnorm=1.0
        )
        self._optimizer.build(self._variables)
        self._run = tf.function(self._move, reduce_retracing=True)

    def __call__(self, images: dict, texts: dict, scores: tf.Tensor) -> tf.Tensor:
        return self._run(images, texts, scores)

    @gradients_end_with_graph()
    def _move(self, images: dict, texts: dict, scores: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            left = self._heads.image_tensor(images)
            right = self._heads.text_tensor(texts)
            products = tf.exp(self._log_scale.value) * tf.matmul(left, right, transpose_b=True)
            scores = scores / (self._temperature * tf.math.reduce_std(scores) + 1e-9)
            loss = _divergence(scores, products, axis=0) + _divergence(scores, products, axis=1)
        gradients = tape.gradient(loss, [variable.value for variable in self._variables])
        self._optimizer.apply(gradients, self._variables)
        return loss


def _divergence(teacher: tf.Tensor, student: tf.Tensor, axis: int) -> tf.Tensor:
    """Mean Kullback-Leibler divergence of softmaxes along an axis."""
    logs = tf.nn.log_softmax(teacher, axis) - tf.nn.log_softmax(student, axis)
    return tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(teacher, axis) * logs, axis))
