"""Projection heads: one vector for an image or a caption; inner products approximate scores."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from hslm_tf.data.archives import check_archive
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.layers.numerics import l2_normalize, mask_rows, masked_softmax, num_valid
from hslm_tf.models.hslm import HSLM

# Names of the local features of each side, and of their mask.
_INPUTS = {"image": ("regions", "region_mask"), "text": ("words", "word_mask")}


@keras.saving.register_keras_serializable(package="hslm_tf")
class ProjectionHead(keras.layers.Layer):
    """Pools local features into one unit vector; docs/search.md has the formula."""

    def __init__(
        self,
        dim: int | None = 256,
        attentions: int = 4,
        concepts: int = 256,
        seed: int = 0,
        teacher_fingerprint: str = "",
        **kwargs,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.dim, self.attentions, self.concepts = dim, attentions, concepts
        self.seed, self.teacher_fingerprint = seed, teacher_fingerprint
        self.supports_masking = True

    def compute_mask(self, vectors: keras.KerasTensor, mask: keras.KerasTensor | None) -> None:
        """Returns no mask: the output has one row, which is never padding."""

    def build(self, vectors_shape: tuple, mask_shape: tuple | None = None) -> None:
        if self.dim is None:
            return
        width = vectors_shape[-1]
        self.projection = self.add_weight(
            name="projection",
            shape=(width, self.dim),
            # With the zeros of `correction`, an untrained head is the projected mean.
            initializer=keras.initializers.Orthogonal(seed=self.seed),
        )
        # A bias would be the same for all rows and cancel in the softmax over them.
        self.attention = _dense(self.attentions, "attention", use_bias=False)
        self.attention.build(vectors_shape)
        self.concept = _dense(self.concepts, "concept", activation="relu")
        self.concept.build(vectors_shape)
        self.correction = _dense(self.dim, "correction", kernel_initializer="zeros")
        self.correction.build((None, self.attentions * width + 2 * self.concepts))

    def call(self, vectors: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
        vectors = mask_rows(vectors, mask)
        count = num_valid(mask, vectors, "float32")[..., 0]
        mean = ops.sum(vectors, axis=1) / count
        if self.dim is None:
            return l2_normalize(mean)
        attention = masked_softmax(self.attention(vectors), mask[..., None], axis=1)
        attended = ops.matmul(ops.swapaxes(attention, 1, 2), vectors)
        attended = ops.reshape(attended, (-1, self.attentions * vectors.shape[-1]))
        # relu is never negative: rows of padding, set to zero, do not change the maximum.
        concepts = mask_rows(self.concept(vectors), mask)
        parts = [attended, ops.max(concepts, axis=1), ops.sum(concepts, axis=1) / count]
        correction = self.correction(ops.concatenate(parts, axis=-1))
        return l2_normalize(ops.matmul(mean, self.projection) + correction)

    def get_config(self) -> dict:
        names = ("dim", "attentions", "concepts", "seed", "teacher_fingerprint")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _dense(units: int, name: str, **options) -> keras.layers.Dense:
    return keras.layers.Dense(units, dtype="float32", name=name, **options)


class ProjectionHeads:
    """The heads of a model.

    Args:
        whole: Keras model that holds both heads, as layers `image_head` and `text_head`. The image
            head maps `"regions"` `[n, N, d]` and boolean `"region_mask"` `[n, N]` to `"vector"`,
            float32 `[n, dim]`; the text head does so with `"words"` and `"word_mask"`.
    """

    def __init__(self, whole: keras.Model) -> None:
        self._whole = whole
        self.image_head = whole.get_layer("image_head")
        self.text_head = whole.get_layer("text_head")
        for head in (self.image_head, self.text_head):
            # Masks are ordinary inputs here; without this, Keras warns about masks of tensors.
            head.supports_masking = True
        self._image_graph, self._text_graph = _graph(self.image_head), _graph(self.text_head)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.image_head.output["vector"].shape[-1]

    @property
    def teacher_fingerprint(self) -> str:
        """Fingerprint of the model that the heads were distilled from; empty for plain means."""
        return self.image_head.get_layer("image_pooling").teacher_fingerprint

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights of both heads."""
        return [*self.image_head.weights, *self.text_head.weights]

    def image_tensor(self, images: Mapping) -> tf.Tensor:
        """Projects images, as `HSLM.encode_image` returns them, to float32 `[n, dim]`."""
        return self.image_head({name: images[name] for name in self.image_head.input})["vector"]

    def text_tensor(self, texts: Mapping) -> tf.Tensor:
        """Projects captions, as `HSLM.encode_text` returns them, to float32 `[n, dim]`."""
        return self.text_head({name: texts[name] for name in self.text_head.input})["vector"]

    def image_vectors(self, images: Mapping) -> np.ndarray:
        """Equals `image_tensor` as an array, from a compiled graph."""
        return _run(self._image_graph, images)

    def text_vectors(self, texts: Mapping) -> np.ndarray:
        """Equals `text_tensor` as an array, from a compiled graph."""
        return _run(self._text_graph, texts)

    def save(self, path: Path) -> None:
        """Writes both heads to one file, in one piece.

        Args:
            path: file ending in `.keras`.
        """
        with atomic_write(path) as draft:
            keras.saving.save_model(self._whole, draft)


def _graph(head: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """A head as a graph that is traced once for all sizes."""
    specs = {name: tf.TensorSpec(x.shape, x.dtype) for name, x in head.input.items()}
    return tf.function(
        lambda inputs: head(inputs)["vector"], input_signature=[specs], autograph=False
    )


def _run(graph: tf.types.experimental.PolymorphicFunction, encoding: Mapping) -> np.ndarray:
    (specs,) = graph.input_signature
    return graph(
        {name: tf.cast(encoding[name], spec.dtype) for name, spec in specs.items()}
    ).numpy()


def new_heads(
    width: int,
    dim: int | None,
    attentions: int = 4,
    concepts: int = 256,
    teacher_fingerprint: str = "",
) -> ProjectionHeads:
    """Makes untrained heads, which give the mean of the local features, projected."""
    inputs, outputs = {}, {}
    for side, (rows, mask) in _INPUTS.items():
        of_side = {
            rows: keras.Input((None, width), dtype="float32", name=rows),
            mask: keras.Input((None,), dtype="bool", name=mask),
        }
        # Both sides have the same seed: their inner products start close to those of the means.
        pooling = ProjectionHead(
            dim,
            attentions,
            concepts,
            teacher_fingerprint=teacher_fingerprint,
            name=f"{side}_pooling",
        )
        outputs_of_head = {"vector": pooling(of_side[rows], of_side[mask])}
        head = keras.Model(of_side, outputs_of_head, name=f"{side}_head")
        inputs |= of_side
        outputs[side] = head(of_side)["vector"]
    return ProjectionHeads(keras.Model(inputs, outputs, name="projection_heads"))


def plain_means(model: HSLM) -> ProjectionHeads:
    """Makes heads without weights, which give the mean of the local features."""
    return new_heads(model.config.joint_dim, None)


def read_heads(path: Path) -> ProjectionHeads:
    """Reads what `ProjectionHeads.save` wrote."""
    try:
        check_archive(path)
        return ProjectionHeads(keras.saving.load_model(path))
    except Exception as error:  # Keras raises what zipfile, h5py and json raise.
        # The message may quote the file, line breaks included.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be read as projection heads: {reason}") from error


def heads_of(model: HSLM, heads: ProjectionHeads | None) -> ProjectionHeads:
    """Checks that heads are those of a model."""
    if heads is None:
        return plain_means(model)
    if heads.teacher_fingerprint and heads.teacher_fingerprint != model_fingerprint(model):
        raise ValueError(
            "The heads were distilled from another model. "
            f"Received: heads.teacher_fingerprint={heads.teacher_fingerprint[:12]!r}"
        )
    return heads
