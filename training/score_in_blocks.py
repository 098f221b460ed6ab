"""Scores block by block, and with a gradient in the memory of one block."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from hslm_tf.layers.custom_gradient import custom_gradient

Tensors = Mapping[str, tf.Tensor]


def joined_blocks(
    score: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    count: tf.Tensor,
    block_size: int | tf.Tensor,
    dtype: tf.DType,
    element_shape: Sequence[None] | None = None,
    parallel_iterations: int = 1,
) -> tf.Tensor:
    """Scores `count` rows block by block; `score` gets the first row and one past the last."""

    def add(start: tf.Tensor, blocks: tf.TensorArray) -> tuple:
        scores = score(start, tf.minimum(start + block_size, count))
        return start + block_size, blocks.write(start // block_size, scores)

    blocks = tf.TensorArray(
        dtype, -(-count // block_size), element_shape=element_shape, infer_shape=False
    )
    loop = tf.while_loop(
        lambda start, _: start < count, add, (0, blocks), parallel_iterations=parallel_iterations
    )
    return loop[1].concat()


def score_in_blocks(
    score: Callable[[Tensors, Tensors], tf.Tensor],
    rows: Tensors,
    shared: Tensors,
    variables: Sequence[keras.Variable],
    block_size: int | tf.Tensor,
) -> tf.Tensor:
    """Scores rows, such as images, against what they share, such as all captions of a batch."""
    # The tensors between inputs and scores are large: for every image, a vector for every word. One
    # block keeps them for the gradient. With several blocks the gradient scores each block again.

    # The gradient of a condition cannot read eager tensors, such as the mask of a constant batch,
    # nor variables: both are read here and passed on.
    rows, shared = ({key: tf.identity(x) for key, x in part.items()} for part in (rows, shared))
    weights = [tf.convert_to_tensor(variable.value) for variable in variables]
    row_keys, shared_keys = (
        [key for key, x in part.items() if x.dtype.is_floating] for part in (rows, shared)
    )
    inputs = [*(rows[key] for key in row_keys), *(shared[key] for key in shared_keys), *weights]
    num_rows, num_shared = len(row_keys), len(row_keys) + len(shared_keys)
    first = next(iter(rows.values()))
    count = tf.shape(first)[0]
    dtype = tf.float64 if any(x.dtype == tf.float64 for x in inputs) else tf.float32

    def with_inputs(block: Tensors, *values: tf.Tensor) -> tf.Tensor:
        """Scores a block; `values` stand for what has a gradient."""
        block = {**block, **dict(zip(row_keys, values, strict=False))}
        common = {**shared, **dict(zip(shared_keys, values[num_rows:], strict=False))}
        mapping = list(zip(variables, values[num_shared:], strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return score(block, common)

    def block_of(values: Sequence[tf.Tensor], numbers: tf.Tensor) -> tuple[Tensors, list]:
        """Some rows, and what has a gradient in them."""
        block = {key: tf.gather(x, numbers) for key, x in rows.items() if key not in row_keys}
        return block, [*(tf.gather(x, numbers) for x in values[:num_rows]), *values[num_rows:]]

    # `tf.recompute_grad` would do the same, but fails within loops.
    @custom_gradient
    def in_blocks(*values: tf.Tensor) -> tuple:
        def score_block(start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
            block, block_values = block_of(values, tf.range(start, stop))
            return with_inputs(block, *block_values)

        scores = joined_blocks(score_block, count, block_size, dtype)

        def gradient(slopes: tf.Tensor) -> tuple:
            # A hinge that is not active has none. A NaN score must reach the gradient all the same.
            needed = (slopes != 0) | ~tf.math.is_finite(scores)
            needed = tf.where(tf.reduce_any(tf.reshape(needed, [count, -1]), axis=1))[:, 0]

            def add_block(start: tf.Tensor, *sums: tf.Tensor) -> tuple:
                numbers = needed[start : start + block_size]
                block, block_values = block_of(values, numbers)
                with tf.GradientTape() as tape:
                    tape.watch(block_values)
                    block_scores = with_inputs(block, *block_values)
                added = tape.gradient(
                    block_scores,
                    block_values,
                    tf.gather(slopes, numbers),
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                of_rows = [
                    tf.tensor_scatter_nd_add(total, numbers[:, None], x)
                    for total, x in zip(sums, added[:num_rows], strict=False)
                ]
                others = zip(sums[num_rows:], added[num_rows:], strict=True)
                return (
                    start + block_size,
                    *of_rows,
                    *(a + tf.convert_to_tensor(b) for a, b in others),
                )

            # Zeros of a known shape would become constants of the graph, and stay in memory.
            nothing = tf.minimum(tf.size(needed), 0)
            zeros = [tf.fill(tf.shape(x), tf.cast(nothing, x.dtype)) for x in values]
            return tf.while_loop(
                lambda start, *_: start < tf.size(needed),
                add_block,
                (0, *zeros),
                shape_invariants=(tf.TensorShape([]), *(zero.shape for zero in zeros)),
                parallel_iterations=1,
            )[1:]

        return scores, gradient

    limit = tf.get_static_value(block_size)
    if first.shape[0] is not None and limit is not None:
        # A condition that is known leaves half of the loops' graph, which TensorFlow cannot sort.
        return with_inputs(rows, *inputs) if first.shape[0] <= limit else in_blocks(*inputs)
    return tf.cond(
        count <= block_size, lambda: with_inputs(rows, *inputs), lambda: in_blocks(*inputs)
    )
