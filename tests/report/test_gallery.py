import os

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.report.explanation import Explanation
from hslm_tf.report.gallery import Answer, write_gallery

EXPLANATION = Explanation(
    ["<start>", "dog", "<end>"], np.array([0.1, 0.9, 0.1]), np.array([[1, 1], [0.5, 1], [1, 1.0]])
)


def page_of(boxes, folder, images=None):
    answer = Answer("a.jpg", "dog", 0.5, EXPLANATION, np.array(boxes, np.float32))
    write_gallery(folder / "out.html", [("dog", [answer])], images)
    return (folder / "out.html").read_text("utf-8")


def test_boxes_in_pixels_are_drawn_where_the_size_of_the_image_is_known(tmp_path):
    boxes = [[0, 0, 100, 50], [50, 25, 100, 50]]
    assert "<rect" not in page_of(boxes, tmp_path)
    pixels = tf.zeros((50, 100, 3), tf.uint8)
    tf.io.write_file(str(tmp_path / "a.jpg"), tf.io.encode_jpeg(pixels))
    page = page_of(boxes, tmp_path, tmp_path)
    # One unit is the width of the image; the larger box comes first, under the smaller one.
    first, second = page.split("<rect")[1:]
    assert "x='0.0000' y='0.0000' width='1.0000' height='0.5000'" in first
    assert "x='0.5000' y='0.2500' width='0.5000' height='0.2500'" in second
    assert "<title>dog</title>" in second


def test_boxes_as_parts_of_the_image_need_no_size(tmp_path):
    assert page_of([[0, 0, 1, 1], [0.5, 0.5, 1, 1]], tmp_path).count("<rect") == 2


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "out.html").mkdir()
    with pytest.raises(OSError):
        page_of([[0, 0, 1, 1], [0, 0, 1, 1]], tmp_path)
    assert os.listdir(tmp_path) == ["out.html"]
