import dataclasses

import numpy as np
import pytest

from hslm_tf.config import ModelConfig
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.hubness import HubCorrection, draw_bank
from tests.tiny_model import SIZES, WORDS, randomize_model
from tests.tiny_split import tiny_split

TRAIN, TEST = tiny_split(9, seed=1), tiny_split(5, seed=2)


@pytest.fixture(scope="module")
def model():
    model = HSLM(ModelConfig(**SIZES, mgcn=False, self_attention=False), WORDS)
    randomize_model(model)
    return model


def scores_between(model, images, captions):
    """Scores of one split's images with another's captions."""
    owners = np.zeros(captions.num_captions, np.int32)
    mixed = dataclasses.replace(images, captions=captions.captions, caption_to_image=owners)
    return score_matrix(model, mixed)


def test_half_of_the_mean_of_the_nearest_training_queries(model):
    bank = draw_bank(TRAIN, num_images=6, num_captions=10)
    images, captions = HubCorrection(model, bank, neighbours=3, weight=0.5).of_dataset(TEST)
    nearest = np.sort(scores_between(model, TEST, bank), axis=1)[:, -3:]
    np.testing.assert_allclose(images, nearest.mean(axis=1) / 2, rtol=1e-5)
    nearest = np.sort(scores_between(model, bank, TEST), axis=0)[-3:]
    np.testing.assert_allclose(captions, nearest.mean(axis=0) / 2, rtol=1e-5)


def test_progress_counts_images_and_captions(model):
    counts = []
    HubCorrection(model, draw_bank(TRAIN)).of_dataset(TEST, counts.append)
    assert sum(counts) == TEST.num_images + TEST.num_captions


def test_a_bank_is_drawn_from_the_seed():
    bank = draw_bank(TRAIN, num_images=4, num_captions=7, seed=3)
    again, other = (draw_bank(TRAIN, num_images=4, num_captions=7, seed=seed) for seed in (3, 4))
    assert bank.num_images == 4 and len(set(bank.image_rows)) == 4
    assert bank.captions == again.captions and set(bank.captions) <= set(TRAIN.captions)
    assert bank.captions != other.captions
    # A drawn image keeps its regions and its mask.
    features, mask = bank.read_images(np.arange(4))
    expected, expected_mask = TRAIN.read_images(bank.image_rows)
    np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(mask, expected_mask)
    whole = draw_bank(TRAIN)
    assert (whole.num_images, whole.num_captions) == (9, 18)


@pytest.mark.parametrize("neighbours", [0, 7])
def test_neighbours_must_be_in_the_bank(model, neighbours):
    with pytest.raises(ValueError, match=f"6 items.*Received: neighbours={neighbours}$"):
        HubCorrection(model, draw_bank(TRAIN, 6, 10), neighbours=neighbours)
