import numpy as np
import tensorflow as tf

from hslm_tf.report.failures_section import failures_section, hardest_failures
from hslm_tf.report.query_results import QueryResults, query_results
from tests.report.measured import dataset_of
from tests.report.pages import Page
from tests.report.test_query_results import IMAGE_OF, RESULTS


def test_the_worst_ranks_are_the_hardest_failures():
    found = QueryResults(
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
    object.__setattr__(dataset, "caption_to_image", IMAGE_OF)
    return failures_section(RESULTS, dataset, count, folder)


def test_failures_say_what_was_found_instead():
    section = failures()
    images, captions = section.tables
    assert images.columns[:4] == ("image", "rank", "its best caption", "its score")
    assert images.columns[4:] == ("found instead", "image of that", "score of that")
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
    assert "3 of 3 images looking for captions find something else first." in section.body
    assert "2 of 5 captions looking for images find something else first." in section.body
    assert [len(table.rows) for table in failures(1).tables] == [1, 1]
    assert failures(1, ids=None).tables[0].rows[0][0] == "image 0"


def test_nothing_fails():
    scores = np.eye(2, dtype=np.float32)
    section = failures_section(query_results(scores, np.arange(2)), dataset_of(2, each=1), 20)
    assert section.tables == [] and section.body.count("0 of 2") == 2


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
