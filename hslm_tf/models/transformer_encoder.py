"""The text encoder whose words are the word pieces of a pretrained BERT."""

import keras
from keras import ops

from hslm_tf.config import ModelConfig
from hslm_tf.layers import ByLength, SpecialTokens, WordDropping
from hslm_tf.models.networks import text_outputs
from hslm_tf.models.text_backbone import TextBackbone


def build_transformer_encoder(
    config: ModelConfig, backbone: TextBackbone, dtype: keras.DTypePolicy
) -> keras.Model:
    """Builds the text encoder: ids of word pieces to local text features."""
    if config.freeze_layers > backbone.num_layers:
        raise ValueError(
            f"The backbone has {backbone.num_layers} layers. "
            f"Received: freeze_layers={config.freeze_layers}"
        )
    longest = backbone.sizes["max_sequence_length"]
    if config.max_tokens > longest:
        raise ValueError(
            f"The backbone reads {longest} tokens. Received: max_tokens={config.max_tokens}"
        )
    # === Layers ===
    bert = backbone.build(config.backbone_dropout, dtype)
    special_tokens = SpecialTokens(*backbone.special_ids, dtype=dtype, name="special_tokens")
    dropping = WordDropping(config.drop_words, dtype=dtype, name="word_dropping")
    dropout = keras.layers.Dropout(config.word_dropout, dtype=dtype, name="word_dropout")
    projection = keras.layers.Dense(config.joint_dim, dtype=dtype, name="word_projection")
    # Training goes on from the states of frozen layers, and computes these once.
    layers = [bert.get_layer("embeddings_dropout"), *bert.transformer_layers]
    lower = keras.Model(bert.input, layers[config.freeze_layers].output, name="lower_backbone")

    # === Functional model ===
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    ids, real = special_tokens(token_ids)
    inputs = {
        "token_ids": ids,
        "segment_ids": ops.zeros_like(ids),
        "padding_mask": ops.cast(real, "int32"),
    }
    lower.trainable = config.freeze_layers == 0
    states = lower(inputs) if lower.trainable else lower(inputs, training=False)
    states = keras.layers.Identity(dtype=dtype, name="token_states")(states)
    if upper := layers[config.freeze_layers + 1 :]:
        states = ByLength(upper, dtype=dtype, name="upper_backbone")(states, real)
    # The states of `[CLS]` and of the last place, which is never a word's.
    words, mask = states[:, 1:-1], ops.not_equal(token_ids, 0)
    if config.drop_words:
        places = dropping(ops.cumsum(ops.cast(mask, "int32"), axis=1) * ops.cast(mask, "int32"))
        mask = ops.not_equal(places, 0)
        words = ops.take_along_axis(words, ops.maximum(places - 1, 0)[..., None], axis=1)
    outputs = text_outputs(
        config, projection(dropout(words)), mask, config.text_encoder == "transformer_gru", dtype
    )
    return keras.Model({"token_ids": token_ids}, outputs, name="text_encoder")


def encoder_of_states(text_encoder: keras.Model) -> keras.Model:
    """The rest of a text encoder, for captions whose states of the frozen layers are known."""
    inputs = [text_encoder.input["token_ids"], text_encoder.get_layer("token_states").output]
    return keras.Model(inputs, text_encoder.output, name="encoder_of_states")


def states_of_tokens(text_encoder: keras.Model) -> keras.Model:
    """The frozen layers of a text encoder: token ids to states of `[CLS]`, words and `[SEP]`."""
    states = text_encoder.get_layer("token_states").output
    return keras.Model(text_encoder.input, states, name="states_of_tokens")
