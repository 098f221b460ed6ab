import numpy as np
import pytest

from hslm_tf.evaluation.ranks import ranks
from hslm_tf.report.query_results import (
    overlap,
    query_results,
    rank_bins,
    rank_section,
    score_section,
)
from tests.report.pages import Page

# Captions 0 and 3 are of image 0, caption 1 of image 2, captions 2 and 4 of image 1.
IMAGE_OF = np.array([0, 2, 1, 0, 1], np.int32)
SCORES = np.array(
    [
        [0.1, 0.9, 0.3, 0.5, 0.2],
        [0.8, 0.4, 0.6, 0.0, 0.7],
        [0.2, 0.4, 0.5, 0.1, 0.3],
    ],
    np.float32,
)
RESULTS = query_results(SCORES, IMAGE_OF)


def test_results_of_both_directions():
    scores = SCORES.copy()
    found = query_results(scores, IMAGE_OF)
    np.testing.assert_array_equal(scores, SCORES, "they are used again")
    # Ties count against the model.
    expected = {
        "i2t": ([1, 1, 1], [3, 4, 1], [0.5, 0.7, 0.4], [1, 0, 2], [0.9, 0.8, 0.5], 5),
        "t2i": (
            *([2, 2, 0, 0, 0], IMAGE_OF, [0.1, 0.4, 0.6, 0.5, 0.7]),
            *([1, 0, 2, 2, 2], [0.8, 0.9, 0.5, 0.1, 0.3], 3),
        ),
    }
    for side, parts in expected.items():
        for part, values in zip(found[side], parts, strict=True):
            np.testing.assert_allclose(part, values)


def test_a_single_image_has_no_wrong_items():
    with pytest.raises(ValueError, match="needs two images. Received: num_images=1"):
        query_results(SCORES[:1], np.zeros(5, np.int32))


def test_bins_grow_up_to_the_number_of_items():
    assert rank_bins(1) == [(1, 1)]
    assert rank_bins(5) == [(1, 1), (2, 2), (3, 5)]
    assert rank_bins(12) == [(1, 1), (2, 2), (3, 5), (6, 10), (11, 12)]
    bins = rank_bins(25_000)
    assert bins[-2:] == [(10_001, 20_000), (20_001, 25_000)]
    assert all(low == before + 1 for (_, before), (low, _) in zip(bins, bins[1:], strict=False))


def test_ranks_are_counted():
    section = rank_section(RESULTS)
    (table,) = section.tables
    assert table.columns == ("rank", "i2t queries", "i2t %", "t2i queries", "t2i %")
    assert table.rows == [
        ("1", "0", "0.0", "3", "60.0"),
        ("2", "3", "100.0", "0", "0.0"),
        ("3–5", "0", "0.0", "2", "40.0"),
    ]
    assert "Images looking for captions: median 2, mean 2.0 of 5." in section.body
    assert "Captions looking for images: median 1, mean 1.8 of 3." in section.body
    label = Page(section.body).all("svg")[1]["aria-label"]
    assert label == "Ranks of captions looking for images. 1: 60.0%, 3–5: 40.0%"


def test_shares_of_ranks_are_the_recalls():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 200)).astype(np.float32)
    image_of = np.repeat(np.arange(40), 5)
    (table,) = rank_section(query_results(scores, image_of)).tables
    for column, found in zip((1, 3), ranks(scores, image_of), strict=True):
        counts = [int(row[column]) for row in table.rows]
        assert sum(counts) == len(found)
        # 1, 2, 3 to 5, 6 to 10: the first ten ranks.
        assert sum(counts[:4]) == np.count_nonzero(found < 10)


def test_overlap():
    right = np.array([0.6, 0.8, 1.0])
    assert overlap(right, np.array([0.0, 0.1])) == 0
    assert overlap(right, right) == pytest.approx(1)
    # Two of four wrong scores lie where one of three right ones does.
    assert overlap(right, np.array([0.0, 0.1, 1.0, 1.0])) == pytest.approx(1 / 3)
    assert overlap(np.ones(3), np.ones(2)) == pytest.approx(1)


def test_scores_are_summed_up():
    section = score_section(RESULTS)
    (table,) = section.tables
    right, wrong = RESULTS["i2t"].right_scores, RESULTS["i2t"].wrong_scores
    assert table.rows[0] == [
        "images looking for captions",
        *(f"{x:.4f}" for x in (right.mean(), right.std(), wrong.mean(), wrong.std())),
        f"{100 * overlap(right, wrong):.1f}",
    ]
    label = Page(section.body).all("svg")[0]["aria-label"]
    assert "right items around 0.5000, hardest wrong items around 0.8000" in label
