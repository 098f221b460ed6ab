"""The three networks of HSLM as functional models: image encoder, text encoder and matcher."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from hslm_tf.config import ModelConfig
from hslm_tf.layers import (
    MGCN,
    AttentionPooling,
    BidirectionalGRU,
    CrossAttention,
    L2Normalization,
    RegionDropping,
    SelfAttention,
    SimilarityFusion,
    SimilarityRepresentation,
    WordDropping,
)


def build_image_encoder(config: ModelConfig, dtype: keras.DTypePolicy) -> keras.Model:
    """Builds the image encoder: region features to local image features R* (HSLM Sec. 3.1, 3.3)."""
    # === Layers ===
    # Region features can be larger than float16 holds, or their products with weights can.
    wide = keras.DTypePolicy("float32") if dtype.compute_dtype == "float16" else dtype
    dropping = RegionDropping(config.drop_regions, dtype=dtype, name="region_dropping")
    dropout = keras.layers.Dropout(config.region_dropout, dtype=wide, name="region_dropout")
    projection = keras.layers.Dense(config.joint_dim, dtype=wide, name="region_projection")
    mgcn = _mgcn(config, dtype, "image_mgcn")

    # === Functional model ===
    features = keras.Input(
        (None, config.region_dim), dtype=dtype.variable_dtype, name="region_features"
    )
    region_mask = keras.Input((None,), dtype="bool", name="region_mask")
    mask = dropping(region_mask)
    regions = projection(dropout(features))
    if not config.as_printed:
        regions = L2Normalization(dtype=wide, name="region_norm")(regions, mask=mask)
    if wide is not dtype:
        regions = ops.cast(regions, dtype.compute_dtype)
    if mgcn is not None:
        if config.feature_dropout:
            regions = _feature_dropout(config, dtype, "region_feature_dropout")(regions)
        regions = mgcn(regions, mask=mask)
    if not (config.as_printed or config.mgcn):
        regions = L2Normalization(dtype=dtype, name="local_image_features")(regions, mask=mask)
    outputs = {"regions": regions, "region_mask": mask}
    if config.pools_regions:
        outputs["image_global"] = _pooling(dtype, "image_pooling")(regions, mask=mask)
    return keras.Model(
        {"region_features": features, "region_mask": region_mask}, outputs, name="image_encoder"
    )


def build_text_encoder(
    config: ModelConfig, vocabulary_size: int, dtype: keras.DTypePolicy
) -> keras.Model:
    """Builds the text encoder: token ids to local text features E* (HSLM Sec. 3.2, 3.3)."""
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

    # === Functional model ===
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    kept_ids = dropping(token_ids)
    outputs = text_outputs(
        config,
        dropout(embedding(kept_ids)),
        ops.not_equal(kept_ids, 0),
        recurrent=True,
        dtype=dtype,
    )
    return keras.Model({"token_ids": token_ids}, outputs, name="text_encoder")


def text_outputs(
    config: ModelConfig,
    words: keras.KerasTensor,
    mask: keras.KerasTensor,
    recurrent: bool,
    dtype: keras.DTypePolicy,
) -> dict[str, keras.KerasTensor]:
    """Ends a text encoder: makes local features, their mask and a global vector of its words."""
    # === Layers ===
    mgcn = _mgcn(config, dtype, "text_mgcn")
    if recurrent:
        gru = BidirectionalGRU(config.joint_dim, dtype=dtype, name="bidirectional_gru")

    # === Functional model ===
    if config.self_attention:
        words = SelfAttention(residual=not config.as_printed, dtype=dtype, name="self_attention")(
            words, mask=mask
        )
        if not config.as_printed:
            words = L2Normalization(dtype=dtype, name="enhanced_word_norm")(words, mask=mask)
    if mgcn is not None:
        words = mgcn(words, mask=mask)
    if recurrent:
        if config.feature_dropout:
            words = _feature_dropout(config, dtype, "word_feature_dropout")(words)
        words = gru(words, mask=mask)
    if not config.as_printed:
        words = L2Normalization(dtype=dtype, name="local_text_features")(words, mask=mask)
    outputs = {"words": words, "word_mask": mask}
    if config.global_alignment:
        outputs["text_global"] = _pooling(dtype, "text_pooling")(words, mask=mask)
    return outputs


def build_matcher(config: ModelConfig, dtype: keras.DTypePolicy) -> keras.Model:
    """Builds the matcher: local features of both modalities to scores (HSLM Sec. 3.4, 3.5)."""
    # A block is some images, `[blocks, images, regions, width]`, and the packed words of some
    # captions, `[blocks, words, width]`; its scores are `[blocks, images, captions]`.
    # The inputs have the dtype of the encoders' outputs, so that nothing is cast.
    width, narrow = config.joint_dim, dtype.compute_dtype
    start = "random" if config.as_printed else "distance"
    inputs, similarities = {}, {}

    # === Layers and functional model, part by part ===
    if config.cross_attention:
        inputs["words"] = keras.Input((None, width), dtype=narrow, name="words")
        inputs["segment_ids"] = keras.Input((None,), dtype="int32", name="segment_ids")
        inputs["regions"] = keras.Input((None, None, width), dtype=narrow, name="regions")
        inputs["region_mask"] = keras.Input((None, None), dtype="bool", name="region_mask")
        attended, weights = CrossAttention(
            activation=config.attention,
            scale=config.attention_scale,
            normalize=not config.as_printed,
            unit_inputs=not config.as_printed,
            dtype=dtype,
            name="cross_attention",
        )(inputs["words"], inputs["regions"], inputs["region_mask"], inputs["segment_ids"])
    if config.local_alignment:
        similarities["local"] = SimilarityRepresentation(
            config.similarity_dim, start, dtype=dtype, name="local_similarity"
        )(ops.expand_dims(inputs["words"], 1), attended)
        similarities["segment_ids"] = inputs["segment_ids"]
    if config.global_alignment:
        inputs["text_global"] = keras.Input((None, width), dtype=narrow, name="text_global")
        if not config.pools_regions:
            inputs["region_products"] = keras.Input(
                (None, None, None), dtype=narrow, name="region_products", optional=True
            )
            image_global = _pooling(dtype, "attended_pooling")(
                inputs["regions"],
                weights=weights,
                segment_ids=inputs["segment_ids"],
                region_products=inputs["region_products"],
                attended=attended,
            )
        else:
            inputs["image_global"] = keras.Input((None, width), dtype=narrow, name="image_global")
            image_global = ops.expand_dims(inputs["image_global"], 2)
        similarities["global"] = SimilarityRepresentation(
            config.similarity_dim, start, dtype=dtype, name="global_similarity"
        )(ops.expand_dims(inputs["text_global"], 1), image_global)
    fusion = SimilarityFusion(
        not config.as_printed,
        config.balance_fusion,
        start,
        dtype=dtype,
        name="similarity_fusion",
    )
    matcher = keras.Model(inputs, {"scores": fusion(similarities)}, name="matcher")
    # Masks are separate inputs; without this, Keras warns about masks attached to tensors.
    matcher.supports_masking = True
    return matcher


def aligned_blocks(
    images: Mapping[str, keras.KerasTensor], texts: Mapping[str, keras.KerasTensor]
) -> dict[str, keras.KerasTensor]:
    """Makes n blocks of one image and one caption, the matcher's inputs for aligned pairs."""
    blocks = {
        "words": texts["words"],
        "segment_ids": ops.where(texts["word_mask"], np.int32(0), np.int32(-1)),
        "regions": ops.expand_dims(images["regions"], 1),
        "region_mask": ops.expand_dims(images["region_mask"], 1),
    }
    if "text_global" in texts:
        blocks["text_global"] = ops.expand_dims(texts["text_global"], 1)
    if "image_global" in images:
        blocks["image_global"] = ops.expand_dims(images["image_global"], 1)
    return blocks


def _mgcn(config: ModelConfig, dtype: keras.DTypePolicy, name: str) -> MGCN | None:
    if not config.mgcn:
        return None
    return MGCN(
        config.mgcn_layers,
        affinity="dot" if config.as_printed else "mean",
        normalize=not config.as_printed,
        dtype=dtype,
        name=name,
    )


def _pooling(dtype: keras.DTypePolicy, name: str) -> AttentionPooling:
    return AttentionPooling(dtype=dtype, name=name)


def _feature_dropout(
    config: ModelConfig, dtype: keras.DTypePolicy, name: str
) -> keras.layers.Dropout:
    return keras.layers.Dropout(config.feature_dropout, dtype=dtype, name=name)
