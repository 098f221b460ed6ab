"""Networks that make a convolutional map of a photograph, and their weights."""

import difflib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.command_line import load_extra
from hslm_tf.data.archives import check_archive
from hslm_tf.fingerprint import weights_fingerprint

_BATCH = 2


class Backbone:
    """A network, and the function that prepares pixels from 0 to 255 for it."""

    def __init__(
        self,
        name: str,
        network: Callable[..., Any],
        prepare: Callable[[tf.Tensor], tf.Tensor],
        size: int,
    ) -> None:
        self._network, self._prepare = network, prepare
        try:
            output = network(prepare(tf.zeros((_BATCH, size, size, 3))), training=False)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(
                f"{name} takes no photographs of {size} x {size} pixels: {_first_line(error)}"
            ) from error
        shapes = [tuple(part.shape) for part in keras.tree.flatten(output)]
        # A transformer makes tokens; a network with a pyramid makes several maps.
        if not tf.is_tensor(output) or len(shapes[0]) != 4 or shapes[0][0] != _BATCH:
            shown = ", ".join(str(list(shape[1:])) for shape in shapes)
            raise ValueError(
                f"{name} makes {shown} of a photograph, expected a map [height, width, features], "
                "as convolutional networks make"
            )
        self.region_dim: int = shapes[0][-1]

    def __call__(self, pixels: tf.Tensor) -> tf.Tensor:
        """Makes maps."""
        maps = self._network(self._prepare(tf.cast(pixels, tf.float32)), training=False)
        return tf.cast(maps, tf.float32)

    @property
    def fingerprint(self) -> str:
        """Hash of all weights and of how pixels are prepared: 64 hexadecimal digits."""
        pixels = tf.reshape(tf.linspace(0.0, 255.0, 18), (1, 2, 3, 3))
        prepared = " ".join(f"{value:.3e}" for value in np.ravel(self._prepare(pixels)))
        weights = weights_fingerprint(self._network.weights)
        return hashlib.sha256(f"{weights} {prepared}".encode()).hexdigest()


def load_backbone(name: str, size: int, weights: Path | None = None) -> Backbone:
    """Loads a network with its weights."""
    with defaults_of_keras():
        return _load_backbone(name, size, weights)


def _load_backbone(name: str, size: int, weights: Path | None) -> Backbone:
    applications = {
        key.lower(): value
        for key, value in vars(keras.applications).items()
        if key[0].isupper() and callable(value)
    }
    application = applications.get(name.lower())
    if application is None and weights is not None:
        raise ValueError(f"weights are for a network of keras.applications, {name} has its own")
    if application is not None:
        return _application(application, name, size, weights)
    if name.endswith(".keras"):
        return Backbone(name, _saved_model(Path(name)), tf.identity, size)
    return _preset(name, size, applications.values())


def _application(build: Any, name: str, size: int, weights: Path | None) -> Backbone:
    if weights is not None and not weights.is_file():
        raise FileNotFoundError(f"{weights}: there is no such file")
    settings = {"include_top": False, "input_shape": (size, size, 3)}
    try:
        network = build(weights=None if weights else "imagenet", **settings)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be made for {size} x {size} pixels: {_first_line(error)}"
        ) from error
    # Keras raises a bare Exception after a failed download.
    except Exception as error:
        cache = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
        raise OSError(
            f"{name} cannot be made with its weights for ImageNet: {_first_line(error)}. Where "
            f"they cannot be loaded from the internet, put them into Keras's cache, {cache}, or "
            "name a file with the weights"
        ) from error
    if weights is not None:
        with _loading(f"{weights} does not hold the weights of {name} without its top"):
            network.load_weights(weights)
    # A decorator holds for every call.
    prepare = defaults_of_keras()(sys.modules[build.__module__].preprocess_input)
    return Backbone(name, network, prepare, size)


def _saved_model(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    with _loading(f"{path} is no Keras model"):
        check_archive(path)
        return keras.saving.load_model(path, compile=False)


def _preset(name: str, size: int, applications: Any) -> Backbone:
    known = [build.__name__ for build in applications]
    if not any(mark in name for mark in "_/:") and not Path(name).exists():
        raise ValueError(
            f"{name!r} is no network of keras.applications, no .keras file and no KerasHub preset"
            + _near(name, known)
        )
    keras_hub = load_extra("keras_hub", "keras-hub")
    presets = keras_hub.models.Backbone.presets
    local = Path(name).exists()
    if not local and name not in presets and "://" not in name:
        raise ValueError(
            f"{name} is no KerasHub preset that can be loaded: there is no such name or folder"
            + _near(name, [*known, *presets])
        )
    advice = (
        ". Where it cannot be loaded from the internet, name a folder that holds it, as "
        "~/.cache/kagglehub does where it was loaded"
    )
    with _loading(f"{name} is no KerasHub preset that can be loaded", "" if local else advice):
        network = keras_hub.models.Backbone.from_preset(name)
        converter = keras_hub.layers.ImageConverter.from_preset(name, image_size=None)
    return Backbone(name, network, converter, size)


@contextmanager
def defaults_of_keras() -> Iterator[None]:
    """Has networks made in float32 for photographs with channels last, whatever keras.json says."""
    now = keras.config
    kept = now.image_data_format(), now.floatx(), now.dtype_policy()
    _set_keras("channels_last", "float32", "float32")
    try:
        yield
    finally:
        _set_keras(*kept)


def _set_keras(channels: str, floats: str, policy: str | keras.DTypePolicy) -> None:
    keras.config.set_image_data_format(channels)
    keras.config.set_floatx(floats)
    keras.config.set_dtype_policy(policy)


@contextmanager
def _loading(reason: str, advice: str = "") -> Iterator[None]:
    """Makes one line of any exception: Keras, KerasHub and HDF5 raise all kinds."""
    try:
        yield
    except Exception as error:
        raise OSError(f"{reason}: {_first_line(error)}{advice}") from error


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    return f"; there are {', '.join(near or sorted(known)[:3])}, ..."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
