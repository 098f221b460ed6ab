"""HSLM: hierarchical semantic correspondences for image-text retrieval, on Keras 3 and TensorFlow.

The layers are `hslm_tf.layers`, the training method `hslm_tf.training`; in a checkout their folders
`layers/` and `training/` lie beside this one. Importing `hslm_tf` alone does not load TensorFlow.
"""

import pathlib

__version__ = "0.1.0"

# Run from the root of a checkout, ./hslm_tf shadows an installed package and would lack its wings.
# The root holds this package again: without its name in the condition, walking it would not end.
_checkout = pathlib.Path(__file__).resolve().parent.parent
if (
    __name__ == "hslm_tf"
    and (_checkout / "layers").is_dir()
    and (_checkout / "setup.cfg").is_file()
):
    __path__.append(str(_checkout))
