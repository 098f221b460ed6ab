"""HSLM as functional Keras models: image encoder, text encoder, matcher, and the whole."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from hslm_tf.config import ModelConfig
from hslm_tf.layers import (
    MGCN,
    AttentionPooling,
    CrossAttention,
    L2Normalization,
    RegionDropping,
    SelfAttention,
    SimilarityFusion,
    SimilarityRepresentation,
    WordDropping,
)
from hslm_tf.layers.packed_words import pack_words
from hslm_tf.text.tokenizer import CaptionTokenizer
from hslm_tf.training.trainer import RetrievalTrainer

Encoding = Mapping[str, tf.Tensor]


def build_image_encoder(config: ModelConfig, dtype: keras.DTypePolicy) -> keras.Model:
    """Builds the image encoder: region features to local image features R* (HSLM Sec. 3.1, 3.3).

    Args:
        config: sizes and parts.
        dtype: precision policy of all layers.

    Returns:
        A functional model. Inputs: `"regions"` `[batch, regions, region_dim]` and boolean
        `"region_mask"` `[batch, regions]`. Outputs: `"regions"` `[batch, regions, joint_dim]`,
        `"region_mask"` (less what was dropped in training), and without cross-attention also
        `"global"` `[batch, joint_dim]`.
    """
    # === Layers ===
    dropping = RegionDropping(config.drop_regions, dtype=dtype, name="region_dropping")
    dropout = keras.layers.Dropout(config.region_dropout, dtype=dtype, name="region_dropout")
    projection = keras.layers.Dense(config.joint_dim, dtype=dtype, name="region_projection")
    mgcn = _mgcn(config, dtype, "image_mgcn")

    # === Functional model ===
    features = keras.Input((None, config.region_dim), dtype=dtype.variable_dtype, name="regions")
    region_mask = keras.Input((None,), dtype="bool", name="region_mask")
    mask = dropping(region_mask)
    regions = projection(dropout(features))
    if config.normalize_features:
        regions = L2Normalization(dtype=dtype, name="region_norm")(regions, mask=mask)
    if mgcn is not None:
        if config.feature_dropout:
            regions = _feature_dropout(config, dtype, "region_feature_dropout")(regions)
        regions = mgcn(regions, mask=mask)
    if config.normalize_features:
        regions = L2Normalization(dtype=dtype, name="local_image_features")(regions, mask=mask)
    outputs = {"regions": regions, "region_mask": mask}
    if config.global_alignment and not config.cross_attention:
        pooling = AttentionPooling(dtype=dtype, name="image_pooling")
        outputs["global"] = pooling(regions, mask=mask)
    return keras.Model(
        {"regions": features, "region_mask": region_mask}, outputs, name="image_encoder"
    )


def build_text_encoder(
    config: ModelConfig, vocabulary_size: int, dtype: keras.DTypePolicy
) -> keras.Model:
    """Builds the text encoder: token ids to local text features E* (HSLM Sec. 3.2, 3.3).

    Args:
        config: sizes and parts.
        vocabulary_size: number of token ids.
        dtype: precision policy of all layers.

    Returns:
        A functional model. Input: `"token_ids"`, int32 `[batch, tokens]`, 0 for padding on the
        right. Outputs: `"words"` `[batch, tokens, joint_dim]`, boolean `"word_mask"`, and with
        global alignment `"global"` `[batch, joint_dim]`.
    """
    # === Layers ===
    dropping = WordDropping(config.drop_words, dtype=dtype, name="word_dropping")
    embedding = keras.layers.Embedding(
        vocabulary_size,
        config.word_dim,
        embeddings_initializer=keras.initializers.RandomUniform(-0.1, 0.1),
        dtype=dtype,
        name="word_embedding",
    )
    dropout = keras.layers.Dropout(config.word_dropout, dtype=dtype, name="word_dropout")
    mgcn = _mgcn(config, dtype, "text_mgcn")
    recurrent = keras.layers.Bidirectional(
        keras.layers.GRU(config.joint_dim, return_sequences=True, dtype=dtype, name="gru"),
        merge_mode="ave",
        dtype=dtype,
        name="bidirectional_gru",
    )

    # === Functional model ===
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    kept_ids = dropping(token_ids)
    mask = ops.not_equal(kept_ids, 0)
    words = dropout(embedding(kept_ids))
    if config.self_attention:
        words = SelfAttention(
            residual=config.self_attention_residual, dtype=dtype, name="self_attention"
        )(words, mask=mask)
        if config.normalize_features:
            words = L2Normalization(dtype=dtype, name="enhanced_word_norm")(words, mask=mask)
    if mgcn is not None:
        words = mgcn(words, mask=mask)
    if config.feature_dropout:
        words = _feature_dropout(config, dtype, "word_feature_dropout")(words)
    words = recurrent(words, mask=mask)
    if config.normalize_features:
        words = L2Normalization(dtype=dtype, name="local_text_features")(words, mask=mask)
    outputs = {"words": words, "word_mask": mask}
    if config.global_alignment:
        outputs["global"] = AttentionPooling(dtype=dtype, name="text_pooling")(words, mask=mask)
    return keras.Model({"token_ids": token_ids}, outputs, name="text_encoder")


def build_matcher(config: ModelConfig, dtype: keras.DTypePolicy) -> keras.Model:
    """Builds the matcher: local features of both modalities to scores (HSLM Sec. 3.4, 3.5).

    A batch of blocks; a block is packed words of some captions against some images. Scoring a whole
    matrix is one large block, scoring aligned pairs is many blocks of one image and one caption.

    Args:
        config: sizes and parts.
        dtype: precision policy of all layers.

    Returns:
        A functional model. Inputs: `"words"` `[blocks, words, joint_dim]`, int32 `"caption_index"`
        `[blocks, words]` (-1 for padding), `"regions"` `[blocks, images, regions, joint_dim]`,
        boolean `"region_mask"` `[blocks, images, regions]`; with global alignment `"text_global"`
        `[blocks, captions, joint_dim]`, and without cross-attention `"image_global"`
        `[blocks, images, joint_dim]` instead of words and regions. Output: `"scores"`
        `[blocks, images, captions]`, float32.
    """
    width, wide = config.joint_dim, dtype.variable_dtype
    inputs, similarities = {}, {}

    # === Layers and functional model, part by part ===
    if config.cross_attention:
        inputs["words"] = keras.Input((None, width), dtype=wide, name="words")
        inputs["caption_index"] = keras.Input((None,), dtype="int32", name="caption_index")
        inputs["regions"] = keras.Input((None, None, width), dtype=wide, name="regions")
        inputs["region_mask"] = keras.Input((None, None), dtype="bool", name="region_mask")
        attended, weights = CrossAttention(
            activation=config.attention,
            scale=config.attention_scale,
            normalize=config.normalize_features,
            dtype=dtype,
            name="cross_attention",
        )(inputs["words"], inputs["regions"], inputs["region_mask"])
    if config.local_alignment:
        similarities["local"] = SimilarityRepresentation(
            config.similarity_dim, dtype=dtype, name="local_similarity"
        )(inputs["words"][:, None], attended)
        similarities["caption_index"] = inputs["caption_index"]
    if config.global_alignment:
        inputs["text_global"] = keras.Input((None, width), dtype=wide, name="text_global")
        if config.cross_attention:
            image_global = AttentionPooling(dtype=dtype, name="attended_pooling")(
                inputs["regions"],
                mask=inputs["region_mask"],
                weights=weights,
                caption_index=inputs["caption_index"],
            )
        else:
            inputs["image_global"] = keras.Input((None, width), dtype=wide, name="image_global")
            image_global = inputs["image_global"][:, :, None]
        similarities["global"] = SimilarityRepresentation(
            config.similarity_dim, dtype=dtype, name="global_similarity"
        )(inputs["text_global"][:, None], image_global)
    fusion = SimilarityFusion(config.normalize_fusion, dtype=dtype, name="similarity_fusion")
    matcher = keras.Model(inputs, {"scores": fusion(similarities)}, name="matcher")
    # Masks come as inputs of their own; this silences the warning about those attached to tensors.
    matcher.supports_masking = True
    return matcher


def _mgcn(config: ModelConfig, dtype: keras.DTypePolicy, name: str) -> MGCN | None:
    if not config.mgcn:
        return None
    return MGCN(
        config.mgcn_layers,
        affinity=config.mgcn_affinity,
        normalization=config.mgcn_normalization,
        dtype=dtype,
        name=name,
    )


def _feature_dropout(
    config: ModelConfig, dtype: keras.DTypePolicy, name: str
) -> keras.layers.Dropout:
    return keras.layers.Dropout(config.feature_dropout, dtype=dtype, name=name)


@keras.saving.register_keras_serializable(package="hslm_tf")
class HSLM(RetrievalTrainer):
    """Hierarchical semantic learning model for image-text retrieval (HSLM, Figure 2).

    A functional model of aligned pairs, made of `image_encoder`, `text_encoder` and `matcher`, with
    the hardest-negative training of `RetrievalTrainer`. It carries its vocabulary, so a saved model
    answers captions as strings.

    Args:
        config: sizes and parts.
        vocabulary: words in the order of their ids, `<pad>`, `<start>`, `<end>`, `<unk>` first.
        dtype: precision policy; the global policy by default.
        name: name of the model.

    Inputs:
        Dict of `"regions"` `[batch, regions, region_dim]`, boolean `"region_mask"`
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
        pairs = _aligned_blocks(image_encoder(image_inputs), text_encoder(text_inputs))
        scores = matcher({key: pairs[key] for key in matcher.input})["scores"]
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

        # === Graphs for inference, traced on first use ===
        self._encode_images = tf.function(image_encoder, reduce_retracing=True)
        self._encode_tokens = tf.function(text_encoder, reduce_retracing=True)
        self._score_all = tf.function(self.score_all, reduce_retracing=True)

    def score_pairs(self, images: Encoding, texts: Encoding) -> tf.Tensor:
        """Scores image i against caption i.

        Args:
            images: output of `image_encoder` for n images.
            texts: output of `text_encoder` for n captions.

        Returns:
            Float32 `[n]`.
        """
        pairs = _aligned_blocks(images, texts)
        return self.matcher({key: pairs[key] for key in self.matcher.input})["scores"][:, 0, 0]

    def score_all(self, images: Encoding, texts: Encoding, images_at_once: int = 8) -> tf.Tensor:
        """Scores all images against all captions, in blocks of images.

        Args:
            images: output of `image_encoder` for n images.
            texts: output of `text_encoder` for m captions.
            images_at_once: images of a block; memory is proportional to it.

        Returns:
            Float32 `[n, m]`.
        """
        captions = {}
        if self.config.cross_attention:
            captions["words"], captions["caption_index"] = pack_words(
                texts["words"], texts["word_mask"]
            )
        if self.config.global_alignment:
            captions["text_global"] = texts["global"][None]

        count = tf.shape(images["regions"])[0]
        blocks = -(-count // images_at_once)
        rows = tf.reshape(tf.range(blocks * images_at_once) % count, [blocks, images_at_once])

        def score_block(block_rows: tf.Tensor) -> tf.Tensor:
            block = {key: tf.gather(value, block_rows)[None] for key, value in images.items()}
            if "global" in block:
                block["image_global"] = block["global"]
            inputs = {**block, **captions}
            return self.matcher({key: inputs[key] for key in self.matcher.input})["scores"][0]

        dtype = self.matcher.output["scores"].dtype
        scores = tf.map_fn(score_block, rows, fn_output_signature=dtype, parallel_iterations=1)
        return tf.reshape(scores, [blocks * images_at_once, -1])[:count]

    def encode_image(
        self, regions: np.ndarray | tf.Tensor, region_mask: np.ndarray | tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Encodes images.

        Args:
            regions: `[n, regions, region_dim]`, region features.
            region_mask: boolean `[n, regions]`, True for real regions; None where all are real.

        Returns:
            Dict of `"regions"` `[n, regions, joint_dim]`, `"region_mask"`, and without
            cross-attention `"global"`.

        Raises:
            ValueError: if `regions` has another rank or width.
        """
        regions = tf.convert_to_tensor(regions)
        if regions.shape.rank != 3 or regions.shape[-1] != self.config.region_dim:
            raise ValueError(
                f"`regions` must be [images, regions, {self.config.region_dim}]. "
                f"Received: regions.shape={tuple(regions.shape)}"
            )
        regions = tf.cast(regions, self.image_encoder.input["regions"].dtype)
        if region_mask is None:
            region_mask = tf.ones(tf.shape(regions)[:2], tf.bool)
        region_mask = tf.cast(region_mask, tf.bool)
        return self._encode_images({"regions": regions, "region_mask": region_mask})

    def encode_text(self, captions: Sequence[str]) -> dict[str, tf.Tensor]:
        """Encodes captions.

        Args:
            captions: n captions as they are written; longer ones than `max_tokens` are truncated.

        Returns:
            Dict of `"words"` `[n, tokens, joint_dim]`, `"word_mask"`, and with global alignment
            `"global"` `[n, joint_dim]`.

        Raises:
            ValueError: if there are no captions.
        """
        if not len(captions):
            raise ValueError("`captions` must not be empty. Received: captions=[]")
        token_ids = self.tokenizer(tf.constant(captions, tf.string)).to_tensor()
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
        self, images: Encoding, texts: Encoding, images_at_once: int = 8
    ) -> tf.Tensor:
        """Scores encoded images against encoded captions, `score_all` as a compiled graph.

        Args:
            images: what `encode_image` returned for n images.
            texts: what `encode_text` returned for m captions.
            images_at_once: images of a block; memory is proportional to it.

        Returns:
            Float32 `[n, m]`.
        """
        return self._score_all(images, texts, tf.constant(images_at_once))

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
            ValueError: if aligned images and captions differ in number, or `regions` in width.
        """
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


def _aligned_blocks(images: Encoding, texts: Encoding) -> dict[str, keras.KerasTensor]:
    """Makes n blocks of one image and one caption, the matcher's inputs for aligned pairs."""
    blocks = {
        "words": texts["words"],
        "caption_index": ops.where(texts["word_mask"], 0, -1),
        "regions": images["regions"][:, None],
        "region_mask": images["region_mask"][:, None],
    }
    if "global" in texts:
        blocks["text_global"] = texts["global"][:, None]
    if "global" in images:
        blocks["image_global"] = images["global"][:, None]
    return blocks
