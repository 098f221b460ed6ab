"""HSLM: hierarchical semantic correspondences for image-text retrieval, on Keras 3 and TensorFlow.

What most scripts need is here by name: `HSLM`, `load_dataset`, `evaluate`, `Collection` and more.
A name is imported when it is first asked for: `import hslm_tf` alone does not load TensorFlow.

The layers are `hslm_tf.layers`, the training method `hslm_tf.training`; in a checkout their folders
`layers/` and `training/` lie beside this one.
"""

import importlib
import os
import pathlib
import sys
import types
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hslm_tf import layers as layers
    from hslm_tf import training as training
    from hslm_tf.config import ModelConfig as ModelConfig
    from hslm_tf.data.loading import load_dataset as load_dataset
    from hslm_tf.data.pipeline import training_batches as training_batches
    from hslm_tf.data.sample import load_sample as load_sample
    from hslm_tf.evaluation.exact_recall import evaluate as evaluate
    from hslm_tf.models.hslm import HSLM as HSLM
    from hslm_tf.models.text_backbone import load_text_backbone as load_text_backbone
    from hslm_tf.presets import preset as preset
    from hslm_tf.retrieval.collection import Collection as Collection
    from hslm_tf.runs.opening import load_model as load_model
    from hslm_tf.text.tokenizer import build_vocabulary as build_vocabulary

_MODULES = {
    "Collection": "retrieval.collection",
    "HSLM": "models.hslm",
    "ModelConfig": "config",
    "build_vocabulary": "text.tokenizer",
    "evaluate": "evaluation.exact_recall",
    "load_dataset": "data.loading",
    "load_model": "runs.opening",
    "load_sample": "data.sample",
    "load_text_backbone": "models.text_backbone",
    "preset": "presets",
    "training_batches": "data.pipeline",
}
_PACKAGES = ("layers", "training")

# How TensorFlow computes on a CPU; it reads this when it is imported.
_CPU_SETTINGS = {
    # Without AVX-512 it leaves oneDNN out, and its own products of few rows and a transposed matrix
    # take three to eight times as long.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # By default it gives every large tensor back to the system, which clears its pages when it
    # lends them again: elementwise operations then take four times as long. This allocator keeps
    # them, as much as there is in MB.
    "TF_CPU_ALLOCATOR_USE_BFC": "1",
    "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(2**24),
}
for _name, _value in _CPU_SETTINGS.items():
    os.environ.setdefault(_name, _value)


def use_tensorflow() -> None:
    """Has Keras run on TensorFlow: a shell or keras.json may name a backend for other work."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    elif (backend := sys.modules["keras"].config.backend()) != "tensorflow":
        raise ImportError(
            "Keras runs on another backend than TensorFlow: import hslm_tf.HSLM before keras, or "
            f"set KERAS_BACKEND=tensorflow. Received: backend={backend}"
        )


def __getattr__(name: str) -> Any:
    if name in (*_PACKAGES, *_MODULES):
        use_tensorflow()
    if name in _PACKAGES:
        return importlib.import_module(f"hslm_tf.{name}")
    if name in _MODULES:
        return getattr(importlib.import_module(f"hslm_tf.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Face(types.ModuleType):
    """Keeps the names above: a command of the same name does not replace `hslm_tf.evaluate`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_PACKAGES])


# In the root of a checkout, Python imports ./hslm_tf and not an installed package, and layers/ and
# training/ lie beside it, not inside. So the root becomes a second folder of this package. It holds
# this package once more, as `hslm_tf.hslm_tf`; because of its name that one adds no folder.
_checkout = pathlib.Path(__file__).resolve().parent.parent
if (
    __name__ == "hslm_tf"
    and (_checkout / "layers").is_dir()
    and (_checkout / "setup.cfg").is_file()
):
    __path__.append(str(_checkout))
