"""A batch on several devices: each replica has a share of its pairs, and all see all scores."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from hslm_tf.layers.custom_gradient import custom_gradient
from hslm_tf.training.retrieval_loss import BatchLosses

Tensors = Mapping[str, tf.Tensor]


def num_replicas() -> int:
    """How many replicas share a batch where this is called; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


class BatchShare:
    """What one replica has of a batch, and how it gets the rest.

    Negatives are mined over the whole batch. So the encodings of all replicas are gathered, each
    replica scores its share of what a loss asks for, the scores are gathered, and every replica
    computes the loss of the whole batch. Gathering passes the sum of all replicas' gradients back.
    So the loss divided by the number of replicas has the gradient that one device would compute.

    To be made and called in a replica, outside `tf.cond` and `tf.while_loop`: replicas meet in it.

    Args:
        size: int32 scalar, pairs of the batch that this replica has.
    """

    def __init__(self, size: tf.Tensor) -> None:
        self._replica = tf.distribute.get_replica_context()
        sizes = self._replica.all_gather(size[None], axis=0)
        self._size = size
        self._first = tf.reduce_sum(sizes[: self._replica.replica_id_in_sync_group])

    def gather(self, tensors: Tensors) -> dict[str, tf.Tensor]:
        """Gathers the rows of all replicas, in the order of the batch.

        Args:
            tensors: tensors whose first dimension is the pairs of this replica.

        Returns:
            The same for the whole batch.
        """
        return {key: self.gather_rows(value) for key, value in tensors.items()}

    def rows(
        self,
        score_rows: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        image_rows: tf.Tensor,
        text_rows: tf.Tensor,
    ) -> tf.Tensor:
        """Scores this replica's share of the chosen pairs, and gathers the scores.

        Args:
            score_rows: scores images against captions of the batch, by their rows.
            image_rows: int32 `[3 batch]`, the image of each pair.
            text_rows: int32 `[3 batch]`, the caption of each pair.

        Returns:
            `[3 batch]`.
        """
        batch = tf.shape(image_rows)[0] // 3
        own = [
            tf.reshape(
                tf.reshape(rows, [3, batch])[:, self._first : self._first + self._size], [-1]
            )
            for rows in (image_rows, text_rows)
        ]
        scores = tf.reshape(score_rows(*own), [3, -1])
        return tf.reshape(tf.transpose(self.gather_rows(tf.transpose(scores))), [-1])

    def on_all(
        self, loss: Callable[[tf.Tensor], BatchLosses]
    ) -> Callable[[tf.Tensor], BatchLosses]:
        """Makes a loss on all scores of one that is given this replica's share of them.

        Args:
            loss: called with the scores of all images, `[batch, batch]`.

        Returns:
            To be called with the scores of this replica's images, `[size, batch]`.
        """
        return lambda scores: loss(self.gather_rows(scores))

    def mean_of_sum(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Adds up the gradients of all replicas, and divides by their number.

        An optimizer adds up what replicas give it, but clips before. With a norm of the clip that
        is divided likewise, what it adds up is the clipped gradient of the whole batch.

        Args:
            gradients: those of this replica.

        Returns:
            The same on all replicas.
        """
        summed = self._replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        return [gradient / num_replicas() for gradient in summed]

    def gather_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Gathers one tensor, see `gather`."""
        # Not every device gathers booleans; and gradients of all replicas are added up in this type
        # on the way back.
        wide = {tf.bool: tf.int32, tf.float16: tf.float32, tf.bfloat16: tf.float32}
        # Inputs of a step have no device, which workers need to know: an identity has one.
        sent = tf.identity(tf.cast(rows, wide.get(rows.dtype, rows.dtype)))
        gathered = tf.cast(self._replica.all_gather(sent, axis=0), rows.dtype)
        gathered = tf.ensure_shape(gathered, [None, *rows.shape[1:]])
        return _with_dense_gradient(gathered) if rows.dtype.is_floating else gathered


@custom_gradient
def _with_dense_gradient(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The gradient of chosen rows is slices, which replicas cannot add up."""
    return tf.identity(x), tf.convert_to_tensor
