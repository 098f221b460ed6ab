import numpy as np
import pytest

from hslm_tf.evaluation import evaluate_scores, protocols


def scores_with_a_rival_1000_images_away() -> np.ndarray:
    images = np.arange(5000)
    scores = np.zeros((5000, 5000), np.float16)
    scores[images, images] = 1
    scores[images, (images + 1000) % 5000] = 2
    return scores


def test_5k_ranks_among_all_and_coco_1k_within_folds():
    scores, own = scores_with_a_rival_1000_images_away(), np.arange(5000)

    whole = evaluate_scores(scores, own, "5k")
    assert (whole.i2t.r1, whole.i2t.r5, whole.t2i.r1, whole.rsum) == (0.0, 100.0, 0.0, 400.0)
    assert whole.i2t.median_rank == 2.0

    folds = evaluate_scores(scores, own, "coco-1k")
    assert folds.rsum == 600.0
    assert folds.i2t.mean_rank == folds.t2i.mean_rank == 1.0


def test_folds_average_over_unequal_numbers_of_captions(monkeypatch):
    monkeypatch.setitem(protocols._IMAGES, "coco-1k", 3)
    monkeypatch.setattr(protocols, "_COCO_1K_FOLDS", 3)
    scores = np.array([[0.9, 0.1, 0.2, 7.0], [0.3, 0.4, 0.8, 7.0], [7.0, 7.0, 7.0, 0.5]])
    # Fold 1: image 0 ranks 0, caption 0 ranks 0. Folds 2 and 3 likewise: rivals lie elsewhere.
    caption_to_image = np.array([0, 1, 1, 2])
    assert evaluate_scores(scores, caption_to_image, "coco-1k").i2t.r1 == 100.0
    # As one fold: images rank 1, 1 and 3, captions 1, 1, 1 and 2.
    whole = evaluate_scores(scores, caption_to_image)
    assert (whole.i2t.r1, whole.i2t.mean_rank) == (0.0, pytest.approx(8 / 3))
    assert (whole.t2i.r1, whole.t2i.mean_rank) == (0.0, 2.25)


def test_all_takes_any_number_of_images_and_1k_exactly_1000():
    assert evaluate_scores(np.eye(3), np.arange(3)).rsum == 600.0
    assert evaluate_scores(np.eye(1000), np.arange(1000), "1k").rsum == 600.0


@pytest.mark.parametrize("protocol", ["1k", "5k", "coco-1k"])
def test_wrong_number_of_images_is_an_error(protocol):
    with pytest.raises(ValueError, match="'all' takes any number. Received: num_images=3"):
        evaluate_scores(np.eye(3), np.arange(3), protocol)


def test_unknown_protocol_is_an_error():
    with pytest.raises(ValueError, match="Received: protocol='2k'"):
        evaluate_scores(np.eye(3), np.arange(3), "2k")


def test_a_caption_without_an_image_is_an_error_in_folds_too(monkeypatch):
    monkeypatch.setitem(protocols._IMAGES, "coco-1k", 5)
    with pytest.raises(ValueError, match="Received: 0 to 9"):
        evaluate_scores(np.eye(5), np.array([0, 1, 2, 3, 9]), "coco-1k")
