import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.evaluation.ranks import ranks
from hslm_tf.report.ablation_section import ablation_section
from hslm_tf.report.answers import Answers, answers_of
from hslm_tf.report.configuration_section import configuration_section
from hslm_tf.report.failures_section import failures_section, hardest_failures
from hslm_tf.report.rank_section import rank_bins, rank_section
from hslm_tf.report.score_section import overlap, score_section
from tests.report.measured import dataset_of, measured_run
from tests.report.pages import HOSTILE, Page
from tests.report.test_answers import OWNERS, SCORES

ANSWERS = answers_of(SCORES, OWNERS)


def test_configuration_shows_what_differs():
    runs = [measured_run("a", seed=1), measured_run("b", seed=2, epochs=3)]
    differences, whole = configuration_section(runs).tables
    assert differences.columns == ("field", "a", "b")
    assert sorted(differences.rows) == [["training.epochs", "40", "3"], ["training.seed", "1", "2"]]
    assert dict(whole.rows)["training.seed"] == "1"
    assert dict(whole.rows)["model.joint_dim"] == "1024"


def test_one_configuration_has_no_differences():
    assert len(configuration_section([measured_run()]).tables) == 1
    section = configuration_section([measured_run("a"), measured_run("b")])
    assert len(section.tables) == 1 and "have the same configuration, that of a" in section.body


def test_ablation_needs_rows():
    assert ablation_section([measured_run(row=1), measured_run()], dataset_of(3)) is None
    runs = [
        measured_run(recalls=(10, 20, 30, 1, 2, 3), row=1),
        measured_run(recalls=(14, 20, 30, 1, 2, 3), row=1),
        measured_run(recalls=(50, 60, 70, 40, 50, 60), row=9),
    ]
    table, orderings = ablation_section(runs, dataset_of(3)).tables
    assert table.rows[0] == [
        *("1", "", "", "", "x", ""),
        *("12.0", "20.0", "30.0", "1.0", "2.0", "3.0", "68.0±2.8", "431.0"),
    ]
    assert table.rows[1][-2:] == ["330.0", "484.6"]
    assert ["cross-attention and local add to global", "1 of 1", "9 > 1: +262.0 (+53.6)"] in (
        orderings.rows
    )


def test_bins_grow_up_to_the_number_of_items():
    assert rank_bins(1) == [(1, 1)]
    assert rank_bins(5) == [(1, 1), (2, 2), (3, 5)]
    assert rank_bins(12) == [(1, 1), (2, 2), (3, 5), (6, 10), (11, 12)]
    bins = rank_bins(25_000)
    assert bins[-2:] == [(10_001, 20_000), (20_001, 25_000)]
    assert all(low == before + 1 for (_, before), (low, _) in zip(bins, bins[1:], strict=False))


def test_ranks_are_counted():
    section = rank_section(ANSWERS)
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
    scores, owners = rng.normal(size=(40, 200)).astype(np.float32), np.repeat(np.arange(40), 5)
    (table,) = rank_section(answers_of(scores, owners)).tables
    for column, found in zip((1, 3), ranks(scores, owners), strict=True):
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
    section = score_section(ANSWERS)
    (table,) = section.tables
    right, wrong = ANSWERS["i2t"].right_scores, ANSWERS["i2t"].wrong_scores
    assert table.rows[0] == [
        "images looking for captions",
        *(f"{x:.4f}" for x in (right.mean(), right.std(), wrong.mean(), wrong.std())),
        f"{100 * overlap(right, wrong):.1f}",
    ]
    label = Page(section.body).all("svg")[0]["aria-label"]
    assert "right answers around 0.5000, hardest wrong answers around 0.8000" in label


def test_the_worst_ranks_are_the_hardest_failures():
    found = Answers(
        ranks=np.array([0, 3, 7, 3]),
        right=np.zeros(4, int),
        right_scores=np.array([1, 0.5, 0.2, 0.1]),
        wrong=np.ones(4, int),
        wrong_scores=np.array([0.3, 0.6, 0.9, 0.7]),
        num_items=9,
    )
    np.testing.assert_array_equal(hardest_failures(found, 10), [2, 3, 1])
    np.testing.assert_array_equal(hardest_failures(found, 2), [2, 3])


CAPTIONS = ["a dog", "a cat", "two birds", "the dog", "birds"]


def failures(count=20, folder=None, captions=CAPTIONS, ids=("i0.jpg", "i1.jpg", "i2.jpg")):
    dataset = dataset_of(3, captions, each=1, ids=list(ids) if ids else None)
    object.__setattr__(dataset, "caption_to_image", OWNERS)
    return failures_section(ANSWERS, dataset, count, folder)


def test_failures_say_what_was_found_instead():
    section = failures()
    images, captions = section.tables
    assert images.columns[:4] == ("image", "rank", "its best caption", "its score")
    assert images.columns[4:] == ("found instead", "which is of", "score of that")
    # All of rank 2: the largest margin comes first.
    assert images.rows == [
        ("i0.jpg", "2", "the dog", "0.5000", "a cat", "i2.jpg", "0.9000"),
        ("i1.jpg", "2", "birds", "0.7000", "a dog", "i0.jpg", "0.8000"),
        ("i2.jpg", "2", "a cat", "0.4000", "two birds", "i1.jpg", "0.5000"),
    ]
    assert captions.rows == [
        ("a dog", "3", "i0.jpg", "0.1000", "i1.jpg", "two birds", "0.8000"),
        ("a cat", "3", "i2.jpg", "0.4000", "i0.jpg", "a dog", "0.9000"),
    ]
    assert "Of 3 images looking for captions, 3 find something else first." in section.body
    assert "Of 5 captions looking for images, 2 find something else first." in section.body
    assert [len(table.rows) for table in failures(1).tables] == [1, 1]
    assert failures(1, ids=None).tables[0].rows[0][0] == "image 0"


def test_nothing_fails():
    scores = np.eye(2, dtype=np.float32)
    owners = np.arange(2)
    section = failures_section(answers_of(scores, owners), dataset_of(2, each=1), 20)
    assert section.tables == [] and section.body.count(", 0 find something else first.") == 2


def test_pictures_are_shown_where_there_are_any(tmp_path):
    pixels = tf.zeros((50, 100, 3), tf.uint8)
    tf.io.write_file(str(tmp_path / "i1.jpg"), tf.io.encode_jpeg(pixels))
    assert "<img" not in failures().body
    images, captions = failures(folder=tmp_path).tables
    # The query of row 1, and the image of the caption found in row 2.
    assert sorted(images.pictures) == [(1, 0), (2, 5)]
    assert sorted(captions.pictures) == [(0, 4)]
    page = Page(failures(folder=tmp_path).body)
    assert len(page.all("img")) == 3
    assert all(image["loading"] == "lazy" for image in page.all("img"))


def test_hostile_captions_and_ids_are_text():
    section = failures(captions=list(HOSTILE), ids=[f"{text}{HOSTILE[0]}" for text in HOSTILE[:3]])
    page = Page(section.body)
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert HOSTILE[0] in page.text
    for table in section.tables:
        assert len(table.markdown().splitlines()) == 4 + len(table.rows)
