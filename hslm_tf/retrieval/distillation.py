"""Distills a model's scores into projection heads."""

import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.layers.custom_gradient import gradients_end_with_graph
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.distillation_config import DistillationConfig
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings
from hslm_tf.retrieval.projection_heads import ProjectionHeads, new_heads

# Steps after which the vectors that find neighbours are computed again.
_REFRESH = 25


def distill(
    model: HSLM,
    dataset: RetrievalDataset,
    config: DistillationConfig,
    progress: Callable[[int, float], None] | None = None,
) -> ProjectionHeads:
    """Fits projection heads to a model's scores; the model stays as it is."""
    random = np.random.default_rng(config.seed)
    keras.utils.set_random_seed(config.seed)
    chosen = random.permutation(dataset.num_images)[: config.max_images]
    images = ImageEncodings.encode(model, dataset, chosen)
    rows = np.flatnonzero(np.isin(dataset.caption_to_image, chosen))
    captions = CaptionEncodings.encode(model, [dataset.captions[row] for row in rows])
    width, fingerprint = model.config.joint_dim, model_fingerprint(model)
    heads = new_heads(width, config.dim, config.attentions, config.concepts, fingerprint)
    student = _Student(heads, config)
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def batches(vectors: tuple, blocks: int) -> Iterator[tuple[dict, np.ndarray]]:
        for _ in range(blocks):
            rows, columns = _draw_block(*vectors, config, random)
            block = images.read(rows), captions.read(columns)
            drawn.append((rows, columns, model.score_encoded(*block).numpy()))
            yield _inputs(*block), drawn[-1][2]
            # Earlier blocks keep their scores; reading their features again is cheap.
            for block_number in random.integers(len(drawn), size=config.replay_steps):
                rows, columns, scores = drawn[block_number]
                yield _inputs(images.read(rows), captions.read(columns)), scores

    for first in range(0, config.steps, _REFRESH):
        vectors = tf.constant(images.vectors(heads)), tf.constant(captions.vectors(heads))
        blocks = min(_REFRESH, config.steps - first)
        # Keras takes a size in which two batches agree for one that never changes.
        drawing = tf.data.Dataset.from_generator(
            functools.partial(batches, vectors, blocks), output_signature=_batch_spec(width)
        ).apply(tf.data.experimental.assert_cardinality(blocks * (1 + config.replay_steps)))
        history = student.fit(drawing, shuffle=False, verbose=0)
        if progress is not None:
            progress(blocks, history.history["loss"][0])
    return heads


def _draw_block(
    image_vectors: tf.Tensor,
    caption_vectors: tf.Tensor,
    config: DistillationConfig,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Half of the images and captions close to a random caption, half anywhere."""
    # Close items are the ones that are hard to tell apart when candidates are chosen.
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


def _batch_spec(width: int) -> tuple[dict[str, tf.TensorSpec], tf.TensorSpec]:
    features, mask = tf.TensorSpec([None, None, width]), tf.TensorSpec([None, None], tf.bool)
    inputs = {"regions": features, "region_mask": mask, "words": features, "word_mask": mask}
    return inputs, tf.TensorSpec([None, None])


def _inputs(images: dict, captions: dict) -> dict[str, np.ndarray]:
    names = ("regions", "region_mask", "words", "word_mask")
    return {name: np.asarray({**images, **captions}[name]) for name in names}


class _Student(keras.Model):
    """Inner products of the heads, which learn from a model's scores."""

    def __init__(self, heads: ProjectionHeads, config: DistillationConfig) -> None:
        super().__init__(name="student")
        self.heads = heads
        # Keras finds the weights of models that are attributes.
        self.image_head, self.text_head = heads.image_head, heads.text_head
        # The learned factor of the inner products, which are at most 1.
        self.log_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(np.log(20.0)), name="log_scale"
        )
        steps = config.steps * (1 + config.replay_steps)
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)

        def loss(scores: tf.Tensor, products: tf.Tensor) -> tf.Tensor:
            scores /= config.temperature * tf.math.reduce_std(scores) + 1e-9
            return _divergence(scores, products, axis=0) + _divergence(scores, products, axis=1)

        self.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0), loss)

    @gradients_end_with_graph()
    def train_step(self, data: tuple) -> dict[str, tf.Tensor]:
        return super().train_step(data)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        images, texts = self.heads.image_tensor(inputs), self.heads.text_tensor(inputs)
        return tf.exp(self.log_scale) * tf.matmul(images, texts, transpose_b=True)


def _divergence(teacher: tf.Tensor, student: tf.Tensor, axis: int) -> tf.Tensor:
    """Mean Kullback-Leibler divergence of softmaxes along an axis."""
    logs = tf.nn.log_softmax(teacher, axis) - tf.nn.log_softmax(student, axis)
    return tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(teacher, axis) * logs, axis))
