import sys

import numpy as np
import pytest
from PIL import Image

from hslm_tf.images.detections import cleaned
from hslm_tf.images.keras_hub_detector import KerasHubDetector
from tests.images.tiny_detectors import SCALE, SIZE, d_fine, retinanet, save

HEIGHT, WIDTH = SIZE
PICTURES = [
    np.random.default_rng(i).integers(0, 256, (40 + 50 * i, 80, 3), np.uint8) for i in range(3)
]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def retinanet_finds(detector, picture):
    """All boxes, shares of the photograph, and their scores: the photograph is at the upper left
    of a grey canvas."""
    share = min(HEIGHT / picture.shape[0], WIDTH / picture.shape[1])
    rows, columns = round(picture.shape[0] * share), round(picture.shape[1] * share)
    pixels = np.full((1, HEIGHT, WIDTH, 3), 114, np.float32)
    pixels[0, :rows, :columns] = Image.fromarray(picture).resize((columns, rows), Image.BILINEAR)
    raw = {key: value.numpy()[0] for key, value in detector(pixels * SCALE).items()}
    anchors = np.concatenate([a.numpy() for a in detector.anchor_generator(pixels).values()])
    top, left, bottom, right = anchors.T
    x, y, w, h = raw["bbox_regression"].T
    centre_x = (left + right) / 2 + x * (right - left)
    centre_y = (top + bottom) / 2 + y * (bottom - top)
    half_w, half_h = np.exp(w) * (right - left) / 2, np.exp(h) * (bottom - top) / 2
    boxes = np.stack(
        [centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h], axis=1
    )
    shares = boxes / [columns, rows, columns, rows]
    return cleaned(shares, sigmoid(raw["cls_logits"]).max(axis=1))


def d_fine_finds(detector, picture):
    """The same: D-FINE is given a stretched photograph and makes shares by itself."""
    pixels = np.asarray(Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.BILINEAR))
    raw = detector(pixels[None].astype(np.float32) * SCALE)
    x, y, w, h = raw["pred_boxes"].numpy()[0].T
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    return cleaned(boxes, sigmoid(raw["logits"].numpy()[0]).max(axis=1))


@pytest.mark.parametrize(
    "build, oracle",
    [(retinanet, retinanet_finds), pytest.param(d_fine, d_fine_finds, marks=pytest.mark.slow)],
)
def test_boxes_are_those_of_the_network(build, oracle, tmp_path):
    original = build("yxyx")
    detector = KerasHubDetector(save(original, tmp_path / "yxyx"))
    found = [detector.detect(picture, "a") for picture in PICTURES]
    for picture, (boxes, scores) in zip(PICTURES, found, strict=True):
        expected = oracle(original, picture)
        assert len(boxes) > 5 and (np.diff(scores) <= 0).all()
        assert boxes.min() >= 0 and boxes.max() <= 1
        np.testing.assert_allclose(boxes[0], expected.boxes[0], atol=1e-3)
        np.testing.assert_allclose(scores[0], expected.scores[0], atol=1e-4)
        for box, score in zip(boxes, scores, strict=True):
            near = np.abs(expected.boxes - box).max(axis=1)
            assert near.min() < 1e-3 and abs(expected.scores[near.argmin()] - score) < 1e-3

    other = KerasHubDetector(save(build("xyxy"), tmp_path / "xyxy"))
    assert other.fingerprint == detector.fingerprint and len(other.fingerprint) == 64
    for picture, mine in zip(PICTURES, found, strict=True):
        theirs = other.detect(picture, "a")
        np.testing.assert_allclose(theirs.boxes, mine.boxes, atol=1e-3)
        np.testing.assert_allclose(theirs.scores, mine.scores, atol=1e-4)


def test_a_preset_that_says_no_size(tmp_path):
    original = retinanet("xywh")
    original.preprocessor.image_converter.image_size = None
    detector = KerasHubDetector(save(original, tmp_path / "preset"))
    assert len(detector.detect(PICTURES[0], "a").boxes) > 5


def test_a_preset_that_does_not_say_how_pixels_are_prepared(tmp_path):
    original = retinanet("yxyx")
    original.preprocessor = None
    with pytest.raises(OSError, match="does not say how pixels are prepared"):
        KerasHubDetector(save(original, tmp_path / "preset"))


def test_what_is_no_preset_of_a_detector(preset, tmp_path):
    with pytest.raises(OSError, match="no_such is no KerasHub preset.*dfine_nano_coco") as error:
        KerasHubDetector("no_such")
    assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="is no KerasHub preset of a detector"):
        KerasHubDetector(str(preset[0]))
    with pytest.raises(OSError, match="config.json"):
        KerasHubDetector(str(tmp_path))


def test_without_keras_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"pip install hslm-tf\[keras-hub\]"):
        KerasHubDetector("dfine_nano_coco")
