"""A batch on several devices: each replica has a share of its pairs, and all see all scores.

Replicas meet in these functions. So they are called in a replica, outside conditions and loops.
"""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from hslm_tf.layers.custom_gradient import custom_gradient


def num_replicas() -> int:
    """How many replicas share a batch where this is called; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def share_of_replica(rows: tf.Tensor) -> tf.Tensor:
    """The rows that this replica scores; those of all replicas, in order, are all rows."""
    if num_replicas() == 1:
        return rows
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    count = tf.shape(rows)[0]
    return rows[replica * count // num_replicas() : (replica + 1) * count // num_replicas()]


def gathered(rows: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, in order. The gradients of all replicas are added up."""
    if num_replicas() == 1:
        return rows
    # Not every device gathers booleans; and gradients are added up in this type on the way back.
    wide = {tf.bool: tf.int32, tf.float16: tf.float32, tf.bfloat16: tf.float32}
    sent = tf.cast(rows, wide.get(rows.dtype, rows.dtype))
    whole = tf.distribute.get_replica_context().all_gather(sent, axis=0)
    whole = tf.ensure_shape(tf.cast(whole, rows.dtype), [None, *rows.shape[1:]])
    return _with_dense_gradient(whole) if rows.dtype.is_floating else whole


def all_gathered(tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Gathers several tensors, see `gathered`."""
    return {key: gathered(rows) for key, rows in tensors.items()}


def summed(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Adds up the gradients of all replicas."""
    if num_replicas() == 1:
        return list(gradients)
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))


def of_first_replica(gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Leaves the gradients to the first replica; others have zeros."""
    if num_replicas() == 1:
        return list(gradients)
    # The optimizer adds up what replicas give it, but clips before: this way it clips the gradient
    # of the whole batch. Infinite gradients become NaN elsewhere, so all replicas skip the step.
    first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    return [gradient * tf.cast(first, gradient.dtype) for gradient in gradients]


@custom_gradient
def _with_dense_gradient(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The gradient of chosen rows is slices, which replicas cannot add up."""
    return tf.identity(x), tf.convert_to_tensor
