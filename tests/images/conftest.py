import keras
import pytest

from tests.images.efficientnet_lite import build
from tests.images.lite_preset import write_preset


@pytest.fixture(scope="session")
def lite0_preset(tmp_path_factory):
    """EfficientNet-Lite0 with its weights for ImageNet, as a folder of KerasHub."""
    return write_preset(0, tmp_path_factory.mktemp("backbone") / "lite0_preset")


@pytest.fixture(scope="session")
def lite0(tmp_path_factory):
    """EfficientNet-Lite0 with its weights for ImageNet, as a `.keras` file."""
    path = tmp_path_factory.mktemp("backbone") / "lite0.keras"
    build(0)[0].save(path)
    return path


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory):
    """A small network whose map has six features, as a `.keras` file."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(6, 8, strides=8, activation="relu")(x)
    path = tmp_path_factory.mktemp("backbone") / "tiny.keras"
    keras.Model(inputs, x).save(path)
    return path
