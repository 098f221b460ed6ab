import keras
import keras_hub
import pytest


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


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """A small network of KerasHub that is saved as a preset: the folder, and the network."""
    keras.utils.set_random_seed(3)
    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    folder = tmp_path_factory.mktemp("preset") / "small"
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=[1 / 64, 1 / 32, 1 / 16], offset=[-2.0, 0.0, 1.0]
    )
    network.save_to_preset(folder)
    converter.save_to_preset(folder)
    return folder, network
