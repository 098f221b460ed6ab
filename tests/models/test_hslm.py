import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.data import RetrievalDataset
from hslm_tf.evaluation import scoring
from hslm_tf.models import encoding
from hslm_tf.presets import ABLATION_PARTS
from tests.layer_test import assert_close
from tests.models.ablated_models import CAPTIONS, ablation, built, five_images, matrix
from tests.tiny_model import WORDS


def expected_parameters(config: ModelConfig) -> int:
    """Counted on paper, maps of width x width with or without bias."""
    width, word, similarity = config.joint_dim, config.word_dim, config.similarity_dim

    def pooling(d: int) -> int:
        return 2 * d * d + d

    def mgcn(d: int) -> int:
        return config.mgcn_layers * 4 * (d * d + d)

    total = len(WORDS) * word + (config.region_dim + 1) * width
    # Update, reset and candidate of two directions, with biases for input and state.
    total += 2 * 3 * (word * width + width * width + 2 * width)
    total += config.self_attention * 3 * word * word
    total += config.mgcn * (mgcn(word) + mgcn(width))
    total += config.cross_attention  # gamma
    total += config.global_alignment * (2 * pooling(width) + (width + 1) * similarity)
    total += config.local_alignment * ((width + 1) * similarity + similarity + 1)  # and the gate
    return total + similarity + 1


@pytest.mark.parametrize("row", ABLATION_PARTS)
def test_parameter_counts(row):
    assert built(ablation(row)).count_params() == expected_parameters(ablation(row))


def test_pairs_equal_the_matrix(ablated):
    regions, mask = five_images()
    scores = matrix(ablated)
    assert scores.shape == (5, 5) and scores.dtype == "float32"
    assert np.std(scores) > 1e-3
    assert_close(ablated.score(regions, CAPTIONS, mask), np.diag(scores))
    token_ids = ablated.tokenizer(tf.constant(CAPTIONS)).to_tensor()
    inputs = {"region_features": regions, "region_mask": mask, "token_ids": token_ids.numpy()}
    assert_close(ablated(inputs)["score"], np.diag(scores))
    images, texts = ablated.encode_image(regions, mask), ablated.encode_text(CAPTIONS)
    rows, columns = np.random.default_rng(0).integers(0, 5, (2, 12), dtype="int32")
    chosen = ablated.score_rows(images, texts, tf.constant(rows), tf.constant(columns))
    assert_close(chosen, scores[rows, columns])


def test_padding_never_changes_a_result(ablated):
    """One image and one caption alone against the same in a batch of longer ones."""
    regions, mask = five_images()
    scores = matrix(ablated)
    assert mask[1].sum() < mask.shape[1]
    for i, j in ((1, 1), (0, 3)):
        real = regions[i : i + 1, : mask[i].sum()]
        assert_close(ablated.score(real, [CAPTIONS[j]])[0], scores[i, j])
    texts = ablated.encode_text(CAPTIONS)
    twice = ablated.text_encoder(
        {
            "token_ids": tf.pad(
                ablated.tokenizer(tf.constant(CAPTIONS)).to_tensor(), [[0, 0], [0, 20]]
            )
        }
    )
    width = texts["words"].shape[1]
    assert_close(twice["words"][:, :width], texts["words"])
    assert not np.any(twice["words"][:, width:]) and not np.any(twice["word_mask"][:, width:])
    if "text_global" in texts:
        assert_close(twice["text_global"], texts["text_global"])


def test_block_size_does_not_change_scores(whole):
    regions, mask = five_images()
    images, texts = whole.encode_image(regions, mask), whole.encode_text(CAPTIONS)
    scores = [whole.score_all(images, texts, size).numpy() for size in (1, 2, 5, 64)]
    for other in scores[1:]:
        assert_close(other, scores[0])


def test_scores_do_not_depend_on_what_was_prepared(ablated):
    regions, mask = five_images()
    images, texts = ablated.encode_image(regions, mask), ablated.encode_text(20 * CAPTIONS)
    stored = {key: value for key, value in images.items() if key != "region_products"}
    attended = ablated.config.global_alignment and not ablated.config.pools_regions
    assert ("region_products" in images) == attended
    expected = ablated.score_encoded(images, texts)
    assert_close(ablated.score_encoded(stored, texts), expected)
    one = {key: value[:1] for key, value in texts.items()}
    assert_close(ablated.score_encoded(stored, one, 3), expected[:, :1])
    assert_close(ablated.score_all(stored, one), expected[:, :1])


def test_score_matrix_of_a_dataset(whole, monkeypatch):
    monkeypatch.setattr(scoring, "IMAGE_BLOCK_SIZE", 2)
    monkeypatch.setattr(scoring, "CAPTION_BLOCK_SIZE", 4)
    monkeypatch.setattr(encoding, "IMAGE_BLOCK_SIZE", 3)
    regions, mask = five_images()
    dataset = RetrievalDataset(
        name="dev",
        source="nowhere",
        region_features=regions.astype("float32"),
        captions=CAPTIONS * 2,
        caption_to_image=np.arange(10, dtype="int32") // 2,
        num_regions=mask.sum(axis=1).astype("int32"),
    )
    done = []
    scores = scoring.score_matrix(whole, dataset, done.append)
    assert scores.shape == (5, 10) and scores.dtype == "float32" and done == [4, 4, 2]
    assert_close(scores, np.tile(matrix(whole), 2))
    assert_close(scores[:, :5], scores[:, 5:])
    encoded = encoding.encode_images(whole, dataset)
    expected = whole.encode_image(regions, mask)
    assert set(encoded) == set(expected)
    assert_close(encoded["regions"], expected["regions"])


def test_encoders(whole):
    regions, mask = five_images()
    images, texts = whole.encode_image(regions, mask), whole.encode_text(CAPTIONS)
    assert images["regions"].shape == (5, 6, 16)
    np.testing.assert_array_equal(images["region_mask"], mask)
    lengths = whole.tokenizer(tf.constant(CAPTIONS)).row_lengths().numpy()
    assert texts["words"].shape == (5, max(lengths), 16) and texts["text_global"].shape == (5, 16)
    np.testing.assert_array_equal(np.sum(texts["word_mask"], axis=1), lengths)
    # Without a mask all regions are real.
    full = whole.encode_image(regions.astype("float16"))
    assert np.all(full["region_mask"]) and full["regions"].dtype == "float32"


def test_unknown_words_and_case(whole):
    regions, mask = five_images()
    captions = ["a DOG", "A dog", "zebra", "giraffe"]
    scores = whole.score(regions[:1], captions, mask[:1], matrix=True)[0].numpy()
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[2] == pytest.approx(scores[3], rel=1e-5)
    assert abs(scores[0] - scores[2]) > 1e-3


def test_long_captions_are_truncated():
    model = built(dataclasses.replace(ablation(1), max_tokens=5))
    regions, mask = five_images()
    long, short = "a dog runs on the grass", "a dog runs"
    scores = model.score(regions[:1], [long, short, "a dog"], mask[:1], matrix=True)[0].numpy()
    assert scores[0] == pytest.approx(scores[1], rel=1e-5) != pytest.approx(scores[2], rel=1e-3)


def test_the_model_has_the_parts_of_figure_2(whole):
    parts = {
        "image_encoder": {"region_projection", "image_mgcn"},
        "text_encoder": {"word_embedding", "self_attention", "text_mgcn", "bidirectional_gru"},
        "matcher": {"cross_attention", "local_similarity", "global_similarity"},
    }
    for part, layers in parts.items():
        assert layers <= {layer.name for layer in whole.get_layer(part).layers}
    assert set(whole.input) == {"region_features", "region_mask", "token_ids"}


def test_mismatched_counts_are_refused(whole):
    regions, mask = five_images()
    with pytest.raises(
        ValueError, match=r"matrix=True.*Received: len\(region_features\)=5.*\(captions\)=2"
    ):
        whole.score(regions, CAPTIONS[:2], mask)
    assert whole.score(regions, CAPTIONS[:2], mask, matrix=True).shape == (5, 2)
