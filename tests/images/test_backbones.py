import pickle
import sys

import keras
import keras_hub
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

from hslm_tf.images.backbones import load_backbone
from tests.images.efficientnet_lite import build, read_pth, weights_file

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def test_the_real_network_knows_a_uniform():
    # The photograph of Grace Hopper that Matplotlib carries: class 652 is "military uniform".
    photograph = Image.open(get_sample_data("grace_hopper.jpg")).convert("RGB")
    pixels = np.asarray(photograph.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    network, tensors = build(0)
    pooled = network(pixels[None]).numpy().mean(axis=(1, 2))
    logits = pooled @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert logits.shape == (1, 1000) and logits.argmax() == 652


def test_a_file_for_pytorch_is_read_without_running_it(tmp_path):
    tensors = read_pth(weights_file(0))
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match="builtins.print is not allowed"):
        read_pth(tmp_path / "bad.pth")


@pytest.mark.parametrize("name", ["MobileNetV2", "efficientnetv2b0", "ResNet50"])
def test_a_network_of_keras_with_weights_of_a_file(name, tmp_path):
    build_network = {key.lower(): value for key, value in vars(keras.applications).items()}[
        name.lower()
    ]
    keras.utils.set_random_seed(1)
    network = build_network(weights=None, include_top=False, input_shape=(64, 64, 3))
    network.save_weights(tmp_path / "mine.weights.h5")
    backbone = load_backbone(name, 64, tmp_path / "mine.weights.h5")
    prepared = sys.modules[build_network.__module__].preprocess_input(PIXELS.astype(np.float32))
    expected = network(prepared, training=False).numpy()
    found = backbone(PIXELS).numpy()
    assert found.dtype == np.float32 and found.shape[-1] == backbone.region_dim
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(backbone.fingerprint) == 64


def test_weights_of_the_cache(tmp_path, monkeypatch):
    """The real way: keras.applications takes what lies in its cache, and checks its hash."""
    asked = []

    def get_file(name, origin, **settings):
        asked.append((name, origin, settings))
        return str(tmp_path / "cached.weights.h5")

    keras.utils.set_random_seed(2)
    network = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    network.save_weights(tmp_path / "cached.weights.h5")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    backbone = load_backbone("MobileNetV2", 64)
    assert (
        asked and asked[0][0].startswith("mobilenet_v2_weights") and asked[0][0].endswith("top.h5")
    )
    prepared = keras.applications.mobilenet_v2.preprocess_input(PIXELS.astype(np.float32))
    expected = network(prepared, training=False)
    np.testing.assert_allclose(backbone(PIXELS), expected, atol=1e-4)


def test_no_weights_can_be_loaded(monkeypatch):
    def get_file(name, origin, **settings):
        raise Exception(f"URL fetch failure on {origin}: None -- name resolution")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", "/elsewhere")
    with pytest.raises(
        OSError, match="URL fetch failure .* /elsewhere/models, or name a file with the weights"
    ):
        load_backbone("MobileNetV2", 64)


def test_weights_of_another_network(tmp_path):
    settings = {"weights": None, "include_top": False, "input_shape": (64, 64, 3)}
    keras.applications.ResNet50(**settings).save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(OSError, match=r"mine.weights.h5 does not hold the weights of MobileNetV2"):
        load_backbone("MobileNetV2", 64, tmp_path / "mine.weights.h5")
    (tmp_path / "bad.weights.h5").write_bytes(b"nothing")
    with pytest.raises(OSError, match="bad.weights.h5 does not hold"):
        load_backbone("MobileNetV2", 64, tmp_path / "bad.weights.h5")
    with pytest.raises(OSError, match="none.h5: there is no such file"):
        load_backbone("MobileNetV2", 64, tmp_path / "none.h5")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A small network of KerasHub with weights of its own, saved as a preset."""
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


def test_a_preset_of_keras_hub(preset):
    folder, network = preset
    backbone = load_backbone(str(folder), 64)
    scaled = PIXELS * np.array([1 / 64, 1 / 32, 1 / 16]) + np.array([-2.0, 0, 1])
    expected = network(scaled.astype(np.float32), training=False)
    found = backbone(PIXELS)
    assert found.shape == (2, 8, 8, 128), "photographs are not resized a second time"
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_network_without_a_map(tmp_path):
    inputs = keras.Input((64, 64, 3))
    flat = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    keras.Model(inputs, flat).save(tmp_path / "flat.keras")
    with pytest.raises(ValueError, match=r"flat.keras makes \[4\] of a photograph, expected a map"):
        load_backbone(str(tmp_path / "flat.keras"), 64)


def test_several_maps_are_none(tmp_path):
    inputs = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(4, 8, strides=8)(inputs)
    coarse = keras.layers.Conv2D(5, 2, strides=2)(fine)
    keras.Model(inputs, {"P3": fine, "P4": coarse}).save(tmp_path / "pyramid.keras")
    with pytest.raises(
        ValueError,
        match=r"pyramid.keras makes \[8, 8, 4\], \[4, 4, 5\] of a photograph, expected a map",
    ) as error:
        load_backbone(str(tmp_path / "pyramid.keras"), 64)
    assert "\n" not in str(error.value)


def test_a_size_that_a_network_does_not_take(tmp_path):
    inputs = keras.Input((64, 64, 3))
    keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs)).save(tmp_path / "fixed.keras")
    with pytest.raises(
        ValueError,
        match=r"fixed.keras takes no photographs of 96 x 96 pixels: .*\(None, 64, 64, 3\)",
    ):
        load_backbone(str(tmp_path / "fixed.keras"), 96)
    with pytest.raises(
        ValueError, match="InceptionV3 cannot be made for 64 x 64 pixels: .* at least 75x75"
    ):
        load_backbone("InceptionV3", 64)


def test_a_preset_that_cannot_be_loaded(monkeypatch, tmp_path):
    def from_preset(name):
        raise ConnectionError("Failed to resolve 'api.kaggle.com'\nand more")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", from_preset)
    error = "resnet_50_imagenet is no KerasHub preset .*api.kaggle.com'. Where .* name a folder"
    with pytest.raises(OSError, match=error):
        load_backbone("resnet_50_imagenet", 64)
    with pytest.raises(OSError, match="Failed to resolve 'api.kaggle.com'$"):
        load_backbone(str(tmp_path), 64)


def test_a_transformer_makes_tokens(tmp_path):
    vit = keras_hub.models.ViTBackbone(
        image_shape=(64, 64, 3),
        patch_size=(16, 16),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
    )
    vit.save_to_preset(str(tmp_path))
    with pytest.raises(
        OSError, match="no KerasHub preset that can be loaded: .image_converter.json"
    ):
        load_backbone(str(tmp_path), 64)
    keras_hub.layers.ViTImageConverter(scale=1 / 255).save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match=r"makes \[17, 8\] of a photograph, expected a map"):
        load_backbone(str(tmp_path), 64)


@pytest.mark.parametrize(
    "name, error",
    [
        ("resnet_50_imagenett", "there is no such name or folder; there are resnet_50_imagenet"),
        ("EfficientNetV2B9", "no network of keras.applications.*EfficientNetV2B3"),
        ("none.keras", "none.keras: there is no such file"),
        ("./no_such_preset", "no_such_preset is no KerasHub preset that can be loaded"),
    ],
)
def test_what_is_no_network(name, error):
    with pytest.raises((ValueError, OSError), match=error):
        load_backbone(name, 64)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"PK nothing")
    with pytest.raises(OSError, match="bad.keras is no Keras model"):
        load_backbone(str(tmp_path / "bad.keras"), 64)
    with pytest.raises(ValueError, match="weights are for a network of keras.applications"):
        load_backbone("mine.keras", 64, tmp_path / "x.h5")


def test_the_fingerprint_tells_how_pixels_are_prepared(preset, tmp_path):
    folder, network = preset
    other = tmp_path / "other"
    network.save_to_preset(other)
    converter = {"image_size": (32, 32), "scale": 1 / 255, "offset": None}
    keras_hub.layers.ResNetImageConverter(**converter).save_to_preset(other)
    prints = {load_backbone(str(path), 64).fingerprint for path in (folder, folder, other)}
    assert len(prints) == 2
