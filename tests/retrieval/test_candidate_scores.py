"""Scores of candidates against the exact matrix and a plain count of what is near."""

import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.evaluation.exact_recall import evaluate, evaluate_models
from hslm_tf.evaluation.protocols import evaluate_scores
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.encoding import pack_captions
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval import candidate_scores
from hslm_tf.retrieval.candidate_scores import CandidateScores, candidate_pairs
from hslm_tf.retrieval.projection_heads import new_heads
from tests.tiny_collection import make_dataset, make_model
from tests.tiny_model import SIZES, WORDS, randomize_model

DATASET = make_dataset(30, captions=3)
CAPTIONS = np.arange(DATASET.num_captions)
PARTS = (
    {},
    {"image_global": "regions"},
    {"global_alignment": False},
    {"cross_attention": False, "local_alignment": False},
)


@pytest.fixture(scope="module")
def model():
    return make_model()


def matrix(models, num_candidates, captions=CAPTIONS, progress=None, heads=None):
    heads = heads or [new_heads(16, None)] * len(models)
    found = np.full((DATASET.num_images, len(CAPTIONS)), np.nan)
    blocks = CandidateScores(heads, num_candidates, progress)
    for rows, scores in blocks(models, DATASET, captions):
        found[:, rows] = scores
    return found[:, captions]


def vectors_of(model):
    heads = new_heads(16, None)
    images = model.encode_image(*DATASET.read_images(np.arange(DATASET.num_images)))
    return heads.image_vectors(images), heads.text_vectors(model.encode_text(DATASET.captions))


def among_nearest(products, count):
    """Which items of each row are among the highest, counted one by one."""
    return np.array([[(row > value).sum() < count for value in row] for row in products])


@pytest.mark.parametrize(
    "dtype, tolerance, parts",
    [
        *(("float32", 1e-5, parts) for parts in PARTS[1:]),
        ("float64", 1e-10, {}),
        ("mixed_bfloat16", 0.02, {}),
        pytest.param("float32", 1e-5, {}, marks=pytest.mark.slow),
        pytest.param("mixed_float16", 2e-3, {}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_lists_are_scored_as_the_matrix(dtype, tolerance, parts):
    model = HSLM(ModelConfig(**{**SIZES, "mgcn_layers": 1, **parts}), WORDS, dtype=dtype)
    randomize_model(model)
    images = model.encode_image(*DATASET.read_images(np.arange(4)))
    packed = pack_captions(model, DATASET.captions)
    expected = model.score_encoded(images, model.encode_text(DATASET.captions)).numpy()
    assert expected.std() > 1e-3
    rows, captions = np.array([2, 0, 2, 3]), np.array([5, 5, 80, 1, 0, 89, 2])
    splits = np.array([0, 1, 4, 4 + 2, 7])
    found = model.score_lists(images, packed._asdict(), rows, captions, splits)
    assert found.dtype == ("float64" if dtype == "float64" else "float32")
    expected = expected[np.repeat(rows, np.diff(splits)), captions]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("count", [1, 4])
def test_others_stand_behind_in_the_order_of_their_vectors(model, count, monkeypatch):
    # Lists, images and columns of several blocks.
    monkeypatch.setattr(candidate_scores, "_LIST_SIZE", 3)
    monkeypatch.setattr(candidate_scores, "_IMAGES_AT_ONCE", 7)
    monkeypatch.setattr(candidate_scores, "_COLUMNS_AT_ONCE", 11)
    found, exact = matrix([model], count), score_matrix(model, DATASET)
    image_vectors, caption_vectors = vectors_of(model)
    products = image_vectors @ caption_vectors.T
    candidates = among_nearest(products, count) | among_nearest(products.T, count).T
    assert 30 < candidates.sum() < candidates.size / 2
    np.testing.assert_allclose(found[candidates], exact[candidates], atol=1e-5)
    assert found[~candidates].max() < found[candidates].min()
    np.testing.assert_allclose(
        found[~candidates], found[candidates].min() - 2 + products[~candidates], atol=1e-5
    )


def test_recall_is_that_of_the_merged_matrix(model):
    found = matrix([model], 3)
    report = evaluate_models([model], DATASET, blocks=CandidateScores([new_heads(16, None)], 3))
    assert report == evaluate_scores(found, DATASET.caption_to_image)
    everything = CandidateScores([new_heads(16, None)], 1000)
    assert evaluate_models([model], DATASET, blocks=everything) == evaluate(model, DATASET)


def test_some_captions_and_progress(model):
    whole, done = matrix([model], 4), []
    some = np.array([40, 2, 17])
    found = matrix([model], 4, some, lambda *counts: done.append(counts))
    # Products of few columns may be rounded in another way than those of many.
    np.testing.assert_allclose(found, whole[:, some], rtol=0, atol=1e-6)
    images, pairs = np.sum(done, axis=0)
    assert images == DATASET.num_images
    assert pairs == candidate_pairs(*vectors_of(model), 4).shape[1]


def test_an_ensemble_averages_scores_and_products(model):
    other = make_model(seed=1)
    found = matrix([model, other], 1000)
    mean = (score_matrix(model, DATASET) + score_matrix(other, DATASET)) / 2
    np.testing.assert_allclose(found, mean, atol=1e-5)
    (images, captions), (others, other_captions) = vectors_of(model), vectors_of(other)
    products = (images @ captions.T + others @ other_captions.T) / 2
    candidates = among_nearest(products, 2) | among_nearest(products.T, 2).T
    found = matrix([model, other], 2)
    np.testing.assert_allclose(
        found[~candidates], found[candidates].min() - 2 + products[~candidates], atol=1e-5
    )


def test_pairs_are_named_from_either_side():
    images = np.eye(3, dtype=np.float32)
    captions = np.array([[1, 0.5, 0], [0.9, 0, 0], [0, 0.8, 0.7]], np.float32)
    # Image 1 names caption 2, image 2 names caption 2; captions 0 and 1 name image 0, 2 image 1.
    pairs = candidate_pairs(images, captions, 1)
    assert pairs.T.tolist() == [[0, 0], [0, 1], [1, 2], [2, 2]]


def test_no_candidates():
    with pytest.raises(ValueError, match="at least 1. Received: num_candidates=0"):
        CandidateScores([], 0)
