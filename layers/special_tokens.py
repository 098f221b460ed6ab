"""The tokens that a pretrained BERT expects around a caption."""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="hslm_tf")
class SpecialTokens(keras.layers.Layer):
    """Puts `[CLS]` before the word pieces of every caption and `[SEP]` behind them.

    Args:
        start_id: id of `[CLS]`.
        end_id: id of `[SEP]`.

    Call arguments:
        token_ids: int `[batch, tokens]`, 0 for padding on the right.

    Returns:
        Ids `[batch, tokens + 2]`, 0 for padding, and a boolean mask that says which are no padding.
    """

    def __init__(self, start_id: int, end_id: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.start_id = start_id
        self.end_id = end_id

    def call(self, token_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lengths = ops.sum(ops.cast(token_ids != 0, "int32"), axis=-1, keepdims=True)
        ids = ops.pad(token_ids, [[0, 0], [1, 1]])
        places = ops.arange(ops.shape(ids)[-1], dtype="int32")
        ids = ops.where(places == lengths + 1, ops.cast(self.end_id, ids.dtype), ids)
        ids = ops.where(places == 0, ops.cast(self.start_id, ids.dtype), ids)
        return ids, places <= lengths + 1

    def get_config(self) -> dict:
        return {**super().get_config(), "start_id": self.start_id, "end_id": self.end_id}
