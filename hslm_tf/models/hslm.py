"""HSLM, a functional Keras model that trains on pairs, encodes, and scores."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.layers.packed_words import pack_words
from hslm_tf.models.inputs import check_captions, check_images
from hslm_tf.models.networks import (
    aligned_blocks,
    build_image_encoder,
    build_matcher,
    build_text_encoder,
)
from hslm_tf.presets import preset
from hslm_tf.text.tokenizer import CaptionTokenizer
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.training.chosen_pairs import score_pairs_bucketed
from hslm_tf.training.matrix_loss import matrix_loss
from hslm_tf.training.retrieval_loss import BatchLosses
from hslm_tf.training.trainer import RetrievalTrainer

Encoding = Mapping[str, tf.Tensor]
# Of the largest tensor between encodings and scores while training on all pairs: 256 MiB.
BLOCK_NUMBERS = 2**26
# What scores the global vectors.
GLOBAL_LAYERS = ("global_similarity", "similarity_fusion")


@keras.saving.register_keras_serializable(package="hslm_tf")
class HSLM(RetrievalTrainer):
    """Hierarchical semantic learning model for image-text retrieval (HSLM, Figure 2).

    A functional model of aligned pairs, made of `image_encoder`, `text_encoder` and `matcher`,
    which learns from the other pairs of the batch (`RetrievalTrainer`). It carries its vocabulary,
    so a saved model answers captions as strings.

    Args:
        config: sizes and parts.
        vocabulary: words in the order of their ids, `<pad>`, `<start>`, `<end>`, `<unk>` first.
        dtype: precision policy; the global policy by default.
        name: name of the model.

    Inputs:
        Dict of `"region_features"` `[batch, regions, region_dim]`, boolean `"region_mask"`
        `[batch, regions]` and int32 `"token_ids"` `[batch, tokens]`.

    Outputs:
        Dict of `"score"` `[batch]`, the similarity of each image and its caption.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: Sequence[str],
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "hslm",
    ) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        # === Layers ===
        image_encoder = build_image_encoder(config, policy)
        text_encoder = build_text_encoder(config, len(vocabulary), policy)
        matcher = build_matcher(config, policy)

        # === Functional model ===
        image_inputs = {key: _like(tensor) for key, tensor in image_encoder.input.items()}
        text_inputs = {key: _like(tensor) for key, tensor in text_encoder.input.items()}
        pairs = aligned_blocks(image_encoder(image_inputs), text_encoder(text_inputs))
        scores = matcher({key: pairs.get(key) for key in matcher.input})["scores"]
        super().__init__(
            inputs={**image_inputs, **text_inputs}, outputs={"score": scores[:, 0, 0]}, name=name
        )

        # === Config ===
        self.config = config
        self.vocabulary = tuple(vocabulary)
        # `compile` looks here for whether the loss must be scaled.
        self.dtype_policy = policy
        self.policy_name = policy.name
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.matcher = matcher
        self.tokenizer = CaptionTokenizer(self.vocabulary, max_tokens=config.max_tokens)

        # === Graphs for inference, traced once for all sizes ===
        # A graph for other sizes could round otherwise, and break ties otherwise: which of the two
        # that score is taken is the caller's word.
        images, texts = _specs(image_encoder.output), _specs(text_encoder.output)
        count = tf.TensorSpec([], tf.int32)
        self._encode_images = tf.function(
            lambda inputs: self._with_region_products(image_encoder(inputs)),
            input_signature=[_specs(image_encoder.input)],
        )
        self._encode_tokens = tf.function(
            lambda inputs: text_encoder(inputs), input_signature=[_specs(text_encoder.input)]
        )
        self._score_without_products = tf.function(
            lambda *inputs: self.score_all(*inputs, region_products=False),
            input_signature=[images, texts, count],
        )
        if "region_products" in matcher.input:
            products = matcher.input["region_products"]
            products = tf.TensorSpec(products.shape[1:], products.dtype)
            self._score_with_products = tf.function(
                self.score_all,
                input_signature=[{**images, "region_products": products}, texts, count],
            )

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool | None = None,
        mask: Mapping[str, tf.Tensor] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Scores aligned pairs. What a training batch holds besides, `image_index`, is left out."""
        return super().call({key: inputs[key] for key in self.input}, training=training)

    @classmethod
    def from_preset(
        cls,
        name: str,
        vocabulary: Sequence[str] | Vocabulary,
        dtype: str | keras.DTypePolicy | None = None,
        **changes: Any,
    ) -> "HSLM":
        """Builds an untrained model of a named configuration.

        Args:
            name: a preset, such as `"flickr30k"`, see `hslm_tf.preset`.
            vocabulary: the words, such as `hslm_tf.build_vocabulary(captions)`.
            dtype: precision policy; the global policy by default.
            **changes: fields of `ModelConfig` to change.

        Returns:
            The model.

        Raises:
            ValueError: if there is no such preset, or a value is impossible.

        Example:
            >>> vocabulary = hslm_tf.build_vocabulary(captions)
            >>> model = hslm_tf.HSLM.from_preset("flickr30k", vocabulary, joint_dim=512)
        """
        words = vocabulary.words if isinstance(vocabulary, Vocabulary) else vocabulary
        return cls(dataclasses.replace(preset(name).model, **changes), words, dtype)

    def score_pairs(self, images: Encoding, texts: Encoding) -> tf.Tensor:
        """Scores image i against caption i.

        Args:
            images: output of `image_encoder` for n images.
            texts: output of `text_encoder` for n captions.

        Returns:
            Float32 `[n]`.
        """
        return self._match(aligned_blocks(images, texts))[:, 0, 0]

    def score_rows(
        self, images: Encoding, texts: Encoding, image_rows: tf.Tensor, text_rows: tf.Tensor
    ) -> tf.Tensor:
        """Scores chosen pairs, see `score_pairs_bucketed`."""
        return score_pairs_bucketed(self.score_pairs, images, texts, image_rows, text_rows)

    def score_all(
        self,
        images: Encoding,
        texts: Encoding,
        image_block_size: int = 2,
        region_products: bool = True,
    ) -> tf.Tensor:
        """Scores all images against all captions, in blocks of images.

        Args:
            images: output of `image_encoder` for n images.
            texts: output of `text_encoder` for m captions.
            image_block_size: images of a block; memory is proportional to it.
            region_products: computes `AttentionPooling.region_products` where `images` lack them,
                which is worth it for more captions than half the regions of an image.

        Returns:
            Float32 `[n, m]`.
        """
        images = self._with_region_products(images) if region_products else images
        captions = self._packed(texts)
        count = tf.shape(images["regions"])[0]
        blocks = -(-count // image_block_size)
        rows = tf.reshape(tf.range(blocks * image_block_size) % count, [blocks, image_block_size])

        def score_block(block_rows: tf.Tensor) -> tf.Tensor:
            block = {key: tf.gather(value, block_rows) for key, value in images.items()}
            return self._match_block(block, captions)

        dtype = self.matcher.output["scores"].dtype
        scores = tf.map_fn(score_block, rows, fn_output_signature=dtype, parallel_iterations=2)
        return tf.reshape(scores, [blocks * image_block_size, -1])[:count]

    def matrix_loss(
        self,
        loss: Callable[[tf.Tensor], BatchLosses],
        images: Encoding,
        texts: Encoding,
        on: str = "score",
    ) -> BatchLosses:
        """Computes a loss on all scores in blocks, see `training.matrix_loss`."""
        if on == "global" and self.config.pools_regions:
            layers = [self.matcher.get_layer(name) for name in GLOBAL_LAYERS]
            variables = [variable for layer in layers for variable in layer.trainable_variables]
            numbers_per_image = self.config.joint_dim * tf.shape(texts["global"])[0]
            images, captions = {"global": images["global"]}, {"text_global": texts["global"][None]}
            score_block = self._match_global
        else:
            variables = self.matcher.trainable_variables
            images, captions = self._with_region_products(images), self._packed(texts)
            rows = captions["words" if self.config.cross_attention else "text_global"]
            numbers_per_image = self.config.joint_dim * tf.shape(rows)[1]
            score_block = self._match_block
        block_size = tf.maximum(BLOCK_NUMBERS // numbers_per_image, 1)
        scale = self.optimizer.scale_loss(1.0)
        return matrix_loss(loss, score_block, images, captions, variables, block_size, scale)

    def _match_global(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """Scores by the global vectors alone, `[images, captions]`."""
        similarity, fusion = (self.matcher.get_layer(name) for name in GLOBAL_LAYERS)
        vectors = similarity(captions["text_global"][:, None], images["global"][None, :, None])
        return fusion({"global": vectors})[0]

    def _packed(self, texts: Encoding) -> dict[str, tf.Tensor]:
        """The captions of one block, as the matcher takes them."""
        captions = {}
        if self.config.cross_attention:
            captions["words"], captions["segment_ids"] = pack_words(
                texts["words"], texts["word_mask"]
            )
        if self.config.global_alignment:
            captions["text_global"] = texts["global"][None]
        return captions

    def _match_block(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """Scores the images of a block against its captions, `[images, captions]`."""
        block = {key: value[None] for key, value in images.items()}
        if "global" in block:
            block["image_global"] = block["global"]
        return self._match({**block, **captions})[0]

    def _match(self, inputs: Encoding) -> tf.Tensor:
        return self.matcher({key: inputs.get(key) for key in self.matcher.input})["scores"]

    def _with_region_products(self, images: Encoding) -> Encoding:
        """Adds what the matcher needs of an image for every caption, once an image."""
        if "region_products" not in self.matcher.input or "region_products" in images:
            return images
        pooling = self.matcher.get_layer("attended_pooling")
        products = pooling.region_products(images["regions"])
        return {**images, "region_products": products}

    def encode_image(
        self, regions: np.ndarray | tf.Tensor, region_mask: np.ndarray | tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Encodes images.

        Args:
            regions: `[n, regions, region_dim]`, region features.
            region_mask: boolean `[n, regions]`, True for real regions; None where all are real.

        Returns:
            Dict of `"regions"` `[n, regions, joint_dim]`, `"region_mask"`, `"global"` where the
            image has a global vector of its own, and `"region_products"` where the matcher takes
            them.

        Raises:
            ValueError: as for `check_images`.
        """
        regions, region_mask = check_images(regions, region_mask, self.config.region_dim)
        regions = tf.cast(regions, self.image_encoder.input["region_features"].dtype)
        return self._encode_images({"region_features": regions, "region_mask": region_mask})

    def encode_text(self, captions: Sequence[str]) -> dict[str, tf.Tensor]:
        """Encodes captions.

        Args:
            captions: n captions as they are written; longer ones than `max_tokens` are truncated.

        Returns:
            Dict of `"words"` `[n, tokens, joint_dim]`, `"word_mask"`, and with global alignment
            `"global"` `[n, joint_dim]`.

        Raises:
            ValueError: as for `check_captions`.
        """
        token_ids = self.tokenizer(check_captions(captions)).to_tensor()
        return self.encode_tokens(token_ids)

    def encode_tokens(self, token_ids: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """Encodes captions that are token ids already.

        Args:
            token_ids: int32 `[n, tokens]`, 0 for padding on the right.

        Returns:
            As `encode_text`.
        """
        return self._encode_tokens({"token_ids": tf.convert_to_tensor(token_ids, tf.int32)})

    def score_encoded(
        self,
        images: Encoding,
        texts: Encoding,
        image_block_size: int = 8,
        region_products: bool = True,
    ) -> tf.Tensor:
        """Scores encoded images against encoded captions, `score_all` as a compiled graph.

        Args:
            images: what `encode_image` returned for n images.
            texts: what `encode_text` returned for m captions.
            image_block_size: images of a block; memory is proportional to it.
            region_products: as for `score_all`.

        Returns:
            Float32 `[n, m]`.

        Raises:
            ValueError: if `images` or `texts` are not what the encoders returned.
        """
        for name, given, key in (("images", images, "regions"), ("texts", texts, "words")):
            if key not in given:
                raise ValueError(
                    f"`{name}` must be encoded: no {key!r} in it. "
                    f"Received: {name} with {', '.join(sorted(given))}"
                )
        images = dict(self._with_region_products(images) if region_products else images)
        with_products = "region_products" in images
        score = self._score_with_products if with_products else self._score_without_products
        return score(images, dict(texts), tf.constant(image_block_size))

    def score(
        self,
        regions: np.ndarray | tf.Tensor,
        captions: Sequence[str],
        region_mask: np.ndarray | tf.Tensor | None = None,
        matrix: bool = False,
    ) -> tf.Tensor:
        """Scores images against captions.

        Args:
            regions: `[n, regions, region_dim]`, region features.
            captions: captions as strings; n of them unless `matrix`.
            region_mask: boolean `[n, regions]`, True for real regions; None where all are real.
            matrix: scores every image against every caption instead of aligned pairs.

        Returns:
            Float32 `[n]`, or `[n, len(captions)]` with `matrix`.

        Raises:
            ValueError: if aligned images and captions differ in number, or as for `check_images`
                and `check_captions`.

        Example:
            >>> print(model.score(regions, ["a dog runs"]))
        """
        regions, region_mask = check_images(regions, region_mask, self.config.region_dim)
        captions = check_captions(captions)
        if not matrix and len(captions) != len(regions):
            raise ValueError(
                "Aligned scoring needs one caption an image (or `matrix=True`). "
                f"Received: len(regions)={len(regions)}, len(captions)={len(captions)}"
            )
        images, texts = self.encode_image(regions, region_mask), self.encode_text(captions)
        return self.score_encoded(images, texts) if matrix else self.score_pairs(images, texts)

    def get_config(self) -> dict:
        return {
            "config": dataclasses.asdict(self.config),
            "vocabulary": list(self.vocabulary),
            "dtype": self.policy_name,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "HSLM":
        return cls(**{**config, "config": ModelConfig(**config["config"])})


def _like(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _specs(tensors: Mapping[str, keras.KerasTensor]) -> dict[str, tf.TensorSpec]:
    return {key: tf.TensorSpec(tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
