import re
import sys

import keras
import keras_hub
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

from hslm_tf.images.backbones import load_backbone
from tests.images.efficientnet_lite import build

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def test_the_real_network_knows_a_uniform():
    # The photograph of Grace Hopper that Matplotlib carries: class 652 is "military uniform".
    photograph = Image.open(get_sample_data("grace_hopper.jpg")).convert("RGB")
    pixels = np.asarray(photograph.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    network, tensors = build(0)
    pooled = network(pixels[None]).numpy().mean(axis=(1, 2))
    logits = pooled @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert logits.shape == (1, 1000) and logits.argmax() == 652


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
    names = []

    def get_file(name, origin, **settings):
        names.append(name)
        return str(tmp_path / "cached.weights.h5")

    keras.utils.set_random_seed(2)
    network = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    network.save_weights(tmp_path / "cached.weights.h5")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    backbone = load_backbone("MobileNetV2", 64)
    assert re.fullmatch("mobilenet_v2_weights.*top.h5", names[0])
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


def test_a_preset_of_keras_hub(preset):
    folder, network = preset
    backbone = load_backbone(str(folder), 64)
    scaled = PIXELS * np.array([1 / 64, 1 / 32, 1 / 16]) + np.array([-2.0, 0, 1])
    expected = network(scaled.astype(np.float32), training=False)
    found = backbone(PIXELS)
    assert found.shape == (2, 8, 8, 128), "photographs are not resized a second time"
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "kind, shapes", [("flat", r"\[4\]"), ("pyramid", r"\[8, 8, 4\], \[4, 4, 5\]")]
)
def test_a_network_without_one_map(tmp_path, kind, shapes):
    inputs = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(4, 8, strides=8)(inputs)
    outputs = keras.layers.GlobalAveragePooling2D()(fine)
    if kind == "pyramid":
        outputs = {"P3": fine, "P4": keras.layers.Conv2D(5, 2, strides=2)(fine)}
    keras.Model(inputs, outputs).save(tmp_path / "net.keras")
    error = rf"^.*net.keras makes {shapes} of a photograph, expected a map[^\n]*$"
    with pytest.raises(ValueError, match=error):
        load_backbone(str(tmp_path / "net.keras"), 64)


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
