"""Projection heads: one vector for an image or a caption; inner products approximate scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.layers.numerics import l2_normalize, mask_rows, masked_softmax, num_valid
from hslm_tf.models.hslm import HSLM

# Local features of each side: name of the vectors and of their mask.
_INPUTS = {"image": ("regions", "region_mask"), "text": ("words", "word_mask")}


@keras.saving.register_keras_serializable(package="hslm_tf")
class ProjectionHead(keras.layers.Layer):
    """Pools local features into one unit vector."""

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
            initializer=keras.initializers.Orthogonal(seed=self.seed),
        )
        # A bias would be the same for all rows and cancel in the softmax over them.
        self.attention = keras.layers.Dense(
            self.attentions, use_bias=False, dtype="float32", name="attention"
        )
        self.attention.build(vectors_shape)
        self.concept = keras.layers.Dense(
            self.concepts, activation="relu", dtype="float32", name="concept"
        )
        self.concept.build(vectors_shape)
        self.correction = keras.layers.Dense(
            self.dim, kernel_initializer="zeros", dtype="float32", name="correction"
        )
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


@dataclass(frozen=True)
class ProjectionHeads:
    """The heads of a model.

    Args:
        image_head: Keras model; `"regions"` `[n, N, d]` and boolean `"region_mask"` `[n, N]` to
            `"vector"`, float32 `[n, dim]`.
        text_head: the same for `"words"` `[n, M, d]` and `"word_mask"` `[n, M]`.
    """

    image_head: keras.Model
    text_head: keras.Model

    def __post_init__(self) -> None:
        for head in (self.image_head, self.text_head):
            # Masks are inputs of their own; without this, Keras warns about masks of tensors.
            head.supports_masking = True

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.image_head.output["vector"].shape[-1]

    @property
    def teacher_fingerprint(self) -> str:
        """Fingerprint of the model that the heads were distilled from; empty for plain means."""
        return self.image_head.get_layer("image_pooling").teacher_fingerprint

    def image_tensor(self, images: dict) -> tf.Tensor:
        """Vectors of encoded images, with gradient.

        Args:
            images: what `HSLM.encode_image` returned for n images.

        Returns:
            Float32 `[n, dim]`.
        """
        return self.image_head({name: images[name] for name in _INPUTS["image"]})["vector"]

    def text_tensor(self, texts: dict) -> tf.Tensor:
        """Vectors of encoded captions, with gradient.

        Args:
            texts: what `HSLM.encode_text` returned for n captions.

        Returns:
            Float32 `[n, dim]`.
        """
        return self.text_head({name: texts[name] for name in _INPUTS["text"]})["vector"]

    @property
    def weights(self) -> list[keras.Variable]:
        """The weights of both heads."""
        return [*self.image_head.weights, *self.text_head.weights]

    def image_vectors(self, images: Mapping) -> np.ndarray:
        """`image_tensor` as an array, from a compiled graph."""
        return self._image_graph(images)

    def text_vectors(self, texts: Mapping) -> np.ndarray:
        """`text_tensor` as an array, from a compiled graph."""
        return self._text_graph(texts)

    @cached_property
    def _image_graph(self) -> Callable[[Mapping], np.ndarray]:
        return _compiled(self.image_head)

    @cached_property
    def _text_graph(self) -> Callable[[Mapping], np.ndarray]:
        return _compiled(self.text_head)

    def save(self, path: Path) -> None:
        """Writes both heads to one file, in one piece.

        Args:
            path: file ending in `.keras`.
        """
        with atomic_write(path) as draft:
            keras.saving.save_model(self._whole(), draft)

    def _whole(self) -> keras.Model:
        inputs = {**self.image_head.input, **self.text_head.input}
        inputs = {
            name: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
            for name, tensor in inputs.items()
        }
        outputs = {}
        for side, head in (("image", self.image_head), ("text", self.text_head)):
            outputs[side] = head({name: inputs[name] for name in _INPUTS[side]})["vector"]
        return keras.Model(inputs, outputs, name="projection_heads")


def _compiled(head: keras.Model) -> Callable[[Mapping], np.ndarray]:
    """A head as a graph, traced once for all sizes, from an encoding to an array."""
    specs = {name: tf.TensorSpec(x.shape, x.dtype) for name, x in head.input.items()}
    graph = tf.function(lambda inputs: head(inputs)["vector"], input_signature=[specs])

    def vectors(encoding: Mapping) -> np.ndarray:
        inputs = {name: tf.cast(encoding[name], spec.dtype) for name, spec in specs.items()}
        return graph(inputs).numpy()

    return vectors


def new_heads(
    width: int,
    dim: int | None,
    attentions: int = 4,
    concepts: int = 256,
    teacher_fingerprint: str = "",
) -> ProjectionHeads:
    """Makes untrained heads, which give the mean of the local features, projected."""
    heads = []
    for side, (rows, mask) in _INPUTS.items():
        inputs = {
            rows: keras.Input((None, width), dtype="float32", name=rows),
            mask: keras.Input((None,), dtype="bool", name=mask),
        }
        pooling = ProjectionHead(
            dim,
            attentions,
            concepts,
            teacher_fingerprint=teacher_fingerprint,
            name=f"{side}_pooling",
        )
        outputs = {"vector": pooling(inputs[rows], inputs[mask])}
        heads.append(keras.Model(inputs, outputs, name=f"{side}_head"))
    return ProjectionHeads(*heads)


def plain_means(model: HSLM) -> ProjectionHeads:
    """Makes heads without weights, which give the mean of the local features."""
    return new_heads(model.config.joint_dim, None)


def read_heads(path: Path) -> ProjectionHeads:
    """Reads what `ProjectionHeads.save` wrote."""
    try:
        whole = keras.saving.load_model(path)
        return ProjectionHeads(whole.get_layer("image_head"), whole.get_layer("text_head"))
    except Exception as error:  # Keras raises what zipfile, h5py and json raise.
        raise ValueError(f"{path} cannot be read as projection heads: {error}") from error


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
