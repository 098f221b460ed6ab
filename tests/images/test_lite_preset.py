import numpy as np
import tensorflow as tf
from matplotlib.cbook import get_sample_data
from PIL import Image

from hslm_tf.images.backbones import load_backbone


def test_a_preset_makes_the_map_that_the_layers_of_keras_make(lite0, lite0_preset):
    """A shift by one pixel in any block of KerasHub's, or another scale of pixels, would show."""
    photograph = Image.open(get_sample_data("grace_hopper.jpg")).convert("RGB")
    pixels = np.asarray(photograph.resize((96, 96), Image.Resampling.BICUBIC))[None]
    preset, saved = load_backbone(str(lite0_preset), 96), load_backbone(str(lite0), 96)
    assert preset.region_dim == 1280
    found, expected = preset(pixels).numpy(), saved(pixels).numpy()
    assert found.shape == (1, 3, 3, 1280) and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)
    in_a_graph = tf.function(preset)(tf.constant(pixels))
    np.testing.assert_allclose(in_a_graph, expected, atol=1e-4)
    flipped = saved(pixels[:, :, ::-1].copy()).numpy()[:, :, ::-1]
    assert np.abs(flipped - expected).max() > 0.5, "where pixels are does matter"
