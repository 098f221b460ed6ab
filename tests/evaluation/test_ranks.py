import numpy as np
import pytest

from hslm_tf.evaluation import DirectionReport, RecallReport, mean_report, recall_report
from hslm_tf.evaluation.ranks import ranks


def test_five_captions_per_image_rank_by_the_best_one():
    scores = np.array(
        [
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0, 0.0, 0.7, 0.0],
            [0.9, 0.8, 0.1, 0.1, 0.1, 0.2, 0.3, 0.85, 0.1, 0.1],
        ]
    )
    i2t, t2i = ranks(scores, np.repeat([0, 1], 5))
    assert i2t.tolist() == [2, 1]
    assert t2i.tolist() == [1, 1, 0, 0, 0, 1, 0, 0, 1, 0]


def test_unequal_numbers_of_captions_in_any_order():
    scores = np.array(
        [[0.3, 0.5, 0.5, 0.1, 0.2], [0.4, 0.9, 0.2, 0.6, 0.6], [0.0, 0.0, 0.0, 0.0, 0.1]]
    )
    i2t, t2i = ranks(scores, np.array([1, 0, 1, 1, 2]))
    assert i2t.tolist() == [1, 2, 0]
    assert t2i.tolist() == [0, 1, 1, 0, 2]


def test_constant_scores_rank_last():
    i2t, t2i = ranks(np.zeros((4, 8), np.float32), np.repeat(np.arange(4), 2))
    assert i2t.tolist() == [6] * 4
    assert t2i.tolist() == [3] * 8


def test_ties_among_the_captions_of_an_image_cost_nothing():
    scores = np.array([[0.5, 0.5, 0.4], [0.1, 0.2, 0.3]])
    i2t, _ = ranks(scores, np.array([0, 0, 1]))
    assert i2t.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_agrees_with_a_loop_on_scores_full_of_ties(dtype):
    random = np.random.default_rng(0)
    caption_to_image = random.permutation(np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 2]))
    scores = random.integers(0, 6, (7, len(caption_to_image))).astype(dtype)
    scores[random.random(scores.shape) < 0.1] = -np.inf

    i2t, t2i = ranks(scores, caption_to_image)

    for image in range(7):
        best = max(scores[image, caption_to_image == image])
        wrong = scores[image, caption_to_image != image]
        assert i2t[image] == sum(score >= best for score in wrong)
    for caption, image in enumerate(caption_to_image):
        wrong = np.delete(scores[:, caption], image)
        assert t2i[caption] == sum(score >= scores[image, caption] for score in wrong)


@pytest.mark.parametrize(
    ("scores", "caption_to_image", "message"),
    [
        ([[0.5, np.nan], [0.1, 0.2]], [0, 1], "NaN for image 0 and caption 1"),
        ([[0.5, 0.1], [0.1, 0.2]], [0, 0], "the first is image 1"),
        ([[0.5, 0.1], [0.1, 0.2]], [0, 2], "images 0 to 1. Received: 0 to 2"),
        ([[0.5, 0.1], [0.1, 0.2]], [-1, 0], "images 0 to 1. Received: -1 to 0"),
        ([[0.5, 0.1], [0.1, 0.2]], [0, 1, 1], r"Received: int64 of shape \(3,\)"),
        ([[0.5, 0.1], [0.1, 0.2]], [0.0, 1.0], "Received: float64"),
        ([[1, 0], [0, 1]], [0, 1], "Received: scores of int64"),
        ([0.5, 0.1], [0, 1], r"shape \(2,\)"),
        (np.zeros((0, 0)), np.zeros(0, int), r"shape \(0, 0\)"),
    ],
)
def test_wrong_input_is_one_clear_error(scores, caption_to_image, message):
    with pytest.raises(ValueError, match=message):
        ranks(np.array(scores), np.array(caption_to_image))


def test_recall_report_counts_ranks_from_one():
    report = recall_report(np.array([0, 3, 7, 20]), np.array([0, 0, 12, 5, 9]))
    assert report.i2t == DirectionReport(25.0, 50.0, 75.0, median_rank=6.0, mean_rank=8.5)
    assert report.t2i == DirectionReport(40.0, 40.0, 80.0, median_rank=6.0, mean_rank=6.2)
    assert report.rsum == pytest.approx(310.0)


def test_median_between_two_ranks_is_rounded_down():
    report = recall_report(np.array([0, 1]), np.array([4, 9]))
    assert (report.i2t.median_rank, report.t2i.median_rank) == (1.0, 7.0)


def test_recall_at_k_includes_the_kth_place():
    report = recall_report(np.array([4, 5]), np.array([9, 10]))
    assert (report.i2t.r1, report.i2t.r5, report.i2t.r10) == (0.0, 50.0, 100.0)
    assert (report.t2i.r1, report.t2i.r5, report.t2i.r10) == (0.0, 0.0, 50.0)


def test_as_dict_is_flat_and_ordered():
    report = RecallReport(DirectionReport(1, 2, 3, 4, 5), DirectionReport(6, 7, 8, 9, 10))
    names = "i2t_r1 i2t_r5 i2t_r10 i2t_median_rank i2t_mean_rank t2i_r1 t2i_r5 t2i_r10"
    names += " t2i_median_rank t2i_mean_rank rsum"
    assert report.as_dict() == dict(zip(names.split(), [*range(1, 11), 27], strict=True))


def test_mean_report():
    one = RecallReport(DirectionReport(10, 20, 30, 4, 5), DirectionReport(1, 2, 3, 40, 50))
    two = RecallReport(DirectionReport(20, 40, 60, 5, 8), DirectionReport(2, 4, 6, 80, 100))
    mean = mean_report([one, two])
    assert mean.i2t == DirectionReport(15, 30, 45, 4.5, 6.5)
    assert mean.t2i == DirectionReport(1.5, 3, 4.5, 60, 75)
    assert mean.rsum == (one.rsum + two.rsum) / 2


def test_mean_of_no_reports_is_an_error():
    with pytest.raises(ValueError, match="at least one report"):
        mean_report([])
