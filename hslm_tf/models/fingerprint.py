"""A hash that differs between trained models."""

import hashlib
import json

import numpy as np

from hslm_tf.models.hslm import HSLM


def model_fingerprint(model: HSLM) -> str:
    """Hash of everything that a score depends on: configuration, vocabulary, weights.

    Args:
        model: the model.

    Returns:
        64 hexadecimal digits; equal for a model and its saved and loaded copy.
    """
    config = model.get_config()
    parts = (model.image_encoder, model.text_encoder, model.matcher)
    digest = hashlib.sha256(
        json.dumps([config["config"], config["vocabulary"], config["dtype"]]).encode()
    )
    for weight in (weight for part in parts for weight in part.get_weights()):
        digest.update(f"{weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
