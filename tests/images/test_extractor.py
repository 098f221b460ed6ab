import json

import keras
import numpy as np
import pytest
from PIL import Image

from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.extractor import RegionExtractor, extract_good
from hslm_tf.images.photographs import ImageError
from hslm_tf.images.regions import grid_boxes
from tests.oracles.roi_align import roi_align as oracle

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (40 + 9 * i, 70 - 5 * i, 3), np.uint8) for i in range(5)]


def extractor_of(backbone, **settings):
    return RegionExtractor(ExtractionConfig(str(backbone), size=64, **settings))


def box_file(path, boxes):
    path.write_text(json.dumps(boxes))
    return str(path)


def test_equals_the_oracle_on_the_networks_map(tiny_backbone):
    features, boxes, counts = extractor_of(tiny_backbone).extract(PICTURES)
    network = keras.saving.load_model(tiny_backbone)
    np.testing.assert_array_equal(counts, [30] * 5)
    for picture, found, regions in zip(PICTURES, features, boxes, strict=True):
        np.testing.assert_array_equal(regions, grid_boxes())
        resized = Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC)
        feature_map = network(np.asarray(resized, np.float32)[None])[0].numpy()
        assert feature_map.shape == (8, 8, 6)
        expected = [oracle(feature_map.astype(np.float64), box) for box in regions]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_at_a_time_or_many(tiny_backbone):
    extractor = extractor_of(tiny_backbone)
    together = extractor.extract(PICTURES * 5)
    assert together.region_features.shape == (25, 30, 6)
    for i in (0, 7, 24):
        alone = extractor.extract([PICTURES[i % 5]])
        np.testing.assert_allclose(alone[0][0], together[0][i], atol=1e-6)
    nothing = extractor.extract([])
    assert [part.shape for part in nothing] == [(0, 30, 6), (0, 30, 4), (0,)]


def test_boxes_of_a_file_come_first_and_the_grid_fills_up(tiny_backbone, tmp_path):
    mine = {"a": [[0.1, 0.2, 0.5, 0.6, 0.3], [0, 0, 0.5, 0.5, 0.9]], "b": []}
    path = box_file(tmp_path / "boxes.json", mine)
    _, boxes, counts = extractor_of(tiny_backbone, boxes=path).extract(PICTURES[:2], ["a", "b"])
    np.testing.assert_array_equal(counts, [32, 30])
    np.testing.assert_allclose(boxes[0, :3], [[0, 0, 0.5, 0.5], [0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]])
    np.testing.assert_array_equal(boxes[0, 2:32], grid_boxes())
    assert boxes.shape == (2, 36, 4) and (boxes[0, 32:] == 0).all()
    np.testing.assert_array_equal(boxes[1, :30], grid_boxes())
    assert (boxes[1, 30:] == 0).all()


def test_without_the_grid(tiny_backbone, tmp_path):
    mine = {"a": [[0.1, 0.2, 0.5, 0.6], [0, 0, 0.5, 0.5], [0, 0, 1, 0.2]], "b": []}
    path = box_file(tmp_path / "boxes.json", mine)
    extractor = extractor_of(tiny_backbone, boxes=path, fill=False, max_regions=2)
    features, boxes, counts = extractor.extract(PICTURES[:2], ["a", "b"])
    np.testing.assert_array_equal(counts, [2, 1])
    np.testing.assert_allclose(boxes[0], mine["a"][:2])
    np.testing.assert_array_equal(boxes[1], [[0, 0, 1, 1], [0, 0, 0, 0]])
    assert (features[1, 1] == 0).all() and features[1, 0].any()


def test_a_photograph_without_boxes_is_named(tiny_backbone, tmp_path):
    path = box_file(tmp_path / "boxes.json", {"a": [[0, 0, 1, 1]], "c": [[0, 0, 0.5, 1]]})
    extractor = extractor_of(tiny_backbone, boxes=path)
    with pytest.raises(ImageError, match="boxes.json has no boxes for it"):
        extractor.extract(PICTURES[:1], ["b"])
    features, reasons = extract_good(extractor, PICTURES[:3], ["a", "b", "c"])
    assert list(reasons) == [1] and "has no boxes" in reasons[1]
    np.testing.assert_array_equal(features.boxes[:, 0], [[0, 0, 1, 1], [0, 0, 0.5, 1]])
    expected = extractor.extract([PICTURES[0], PICTURES[2]], ["a", "c"])
    np.testing.assert_array_equal(features.region_features, expected.region_features)


@pytest.mark.parametrize(
    "content, error",
    [
        ("[", "is not JSON"),
        ("[1]", r"boxes.json holds \[1\], expected an object"),
        ('{"a": 1}', "'a': '1', expected a list of boxes"),
        ('{"a": [[0, 0, 1]]}', r"'a', box 0: \[0, 0, 1\], expected \[x0, y0, x1, y1\]"),
        ('{"a": [[0, 0, 1, 1], [0, 0, 640, 480]]}', "'a', box 1: .*shares of the photograph's"),
        ('{"a": [[0.5, 0, 0.5, 1]]}', "box 0"),
        ('{"a": [[0, 0, 1, NaN]]}', "box 0"),
        ('{"a": [[0, 0, 1, true]]}', "box 0"),
        ('{"a": [[0, 0, 1, 1], [0, 0, 1, 1, 0.5]]}', "box 1: only some boxes have a score"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_broken_file_of_boxes(tiny_backbone, tmp_path, content, error):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(ValueError, match=error):
        extractor_of(tiny_backbone, boxes=str(tmp_path / "boxes.json"))


def test_other_weights_than_the_features_were_made_with(tiny_backbone):
    config = extractor_of(tiny_backbone).config
    assert len(config.fingerprint) == 64
    assert extractor_of(tiny_backbone, fingerprint=config.fingerprint).config == config
    with pytest.raises(ValueError, match=f"weights of the fingerprint {'0' * 12}"):
        extractor_of(tiny_backbone, fingerprint="0" * 64)


def test_features_that_are_not_finite(tmp_path):
    inputs = keras.Input((None, None, 3))
    dark = keras.layers.Conv2D(2, 8, strides=8, kernel_initializer="ones")(inputs)
    keras.Model(inputs, keras.ops.log(dark)).save(tmp_path / "log.keras")
    with pytest.raises(ImageError, match="not finite"):
        extractor_of(tmp_path / "log.keras").extract([np.zeros((9, 9, 3), np.uint8)])
