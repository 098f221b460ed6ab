"""A batch of aligned pairs, as a user may pass it and as a step takes it."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.training.replicas import num_replicas


def with_text_tensors(x: Mapping[str, Any]) -> Mapping[str, Any]:
    """Makes tensors of captions: Keras takes no strings of Python or NumPy."""
    if "captions" not in x:
        return x
    return {**x, "captions": tf.convert_to_tensor(x["captions"], tf.string)}


def checked_arrays(x: Any) -> Any:
    """Checks plain arrays and makes tensors of captions; others, such as a dataset, pass."""
    if isinstance(x, np.ndarray | tf.Tensor | list | tuple):
        raise _no_batch(type(x).__name__)
    if not isinstance(x, Mapping):
        return x
    rows = {name: len(values) for name, values in x.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(f"All parts of a batch have as many rows. Received: rows={rows}")
    return with_text_tensors(x)


def _no_batch(found: object) -> ValueError:
    return ValueError(
        "A batch is a dict of region_features and token_ids (or captions, as strings, for a model "
        "with a tokenizer), with region_mask where images have fewer regions than there is room "
        f"for, and image_index where several captions have one image. Received: {found}"
    )


def completed_batch(
    data: Any, tokenizer: Callable[[tf.Tensor], tf.RaggedTensor] | None = None
) -> dict[str, tf.Tensor]:
    """Adds what a batch may leave out: ids of its captions, a mask where all regions are real."""
    data, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    if targets is not None or weights is not None:
        raise ValueError(
            "A batch has neither targets nor weights: its captions are what images are compared "
            f"with. Received: y={targets}, sample_weight={weights}"
        )
    if not isinstance(data, Mapping):
        raise _no_batch(type(data).__name__)
    if "captions" in data and tokenizer is not None:
        if num_replicas() > 1:
            raise ValueError(
                "Devices share a batch whose captions are equally wide: pass token_ids, such as "
                f"those of `training_batches`. Received: {sorted(data)}"
            )
        data = {"token_ids": tokenizer(data["captions"]).to_tensor(), **data}
    if not {"region_features", "token_ids"} <= data.keys():
        raise _no_batch(sorted(data))
    if "region_mask" not in data:
        shape = tf.shape(data["region_features"])[:2]
        data = {"region_mask": tf.ones(shape, tf.bool), **data}
    return data
