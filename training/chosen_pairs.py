"""Scores of the few pairs that a loss needs."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from hslm_tf.layers.custom_gradient import custom_gradient

Encoding = Mapping[str, tf.Tensor]
# Pairs that are scored at a time; their tensors are all that is in memory.
GROUP_SIZE = 128
# What a caption has for each of its tokens.
_OF_TOKENS = ("words", "word_mask")


def rows_of(encoding: Encoding, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    """Takes some images or captions of an encoding.

    Args:
        encoding: tensors that share their first dimension.
        rows: int32 `[n]`.

    Returns:
        The same tensors with these rows only.
    """
    return {key: tf.gather(value, rows) for key, value in encoding.items()}


def score_pairs_in_groups(
    score_pairs: Callable[[Encoding, Encoding], tf.Tensor],
    images: Encoding,
    texts: Encoding,
    image_rows: tf.Tensor,
    text_rows: tf.Tensor,
    variables: Sequence[keras.Variable],
    group_size: int = GROUP_SIZE,
) -> tf.Tensor:
    """Scores chosen pairs in groups of similar length, in the memory of one group.

    Groups of one length have little padding. Nothing between encodings and scores is kept for the
    gradient: it scores each group once more, but for the pairs that the loss does not depend on.

    Args:
        score_pairs: scores image i against caption i, `[n]`.
        images: output of the image encoder.
        texts: output of the text encoder.
        image_rows: int32 `[pairs]`, the image of each pair.
        text_rows: int32 `[pairs]`, the caption of each pair.
        variables: the trainable variables that `score_pairs` uses.
        group_size: pairs of a group.

    Returns:
        Float32 `[pairs]` (float64 in a float64 model).
    """
    num_tokens = tf.shape(texts["word_mask"])[1]
    lengths = tf.math.count_nonzero(texts["word_mask"], axis=1, dtype=tf.int32)
    order = tf.argsort(tf.gather(lengths, text_rows), stable=True)
    # The gradient of a condition cannot read eager tensors, such as the mask of a constant batch.
    constants = {key: tf.identity(value) for key, value in {**images, **texts}.items()}
    for key in _OF_TOKENS:
        shape = tf.concat([[-1], tf.shape(texts[key])[2:]], axis=0)
        constants[key] = tf.reshape(texts[key], shape)
    keys = [key for key, value in constants.items() if value.dtype.is_floating]
    # Weights are read here and passed on: the gradient of a condition cannot read variables.
    sources = [tf.convert_to_tensor(variable.value) for variable in variables]

    def places(pairs: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.gather(text_rows, pairs)
        tokens = tf.range(tf.reduce_max(tf.gather(lengths, rows))) + rows[:, None] * num_tokens
        found = dict.fromkeys(images, tf.gather(image_rows, pairs))
        return {**found, **{key: tokens if key in _OF_TOKENS else rows for key in texts}}

    def score(parts: Encoding, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return score_pairs({k: parts[k] for k in images}, {k: parts[k] for k in texts})

    @custom_gradient
    def in_groups(*values: tf.Tensor) -> tuple:
        weights = values[len(keys) :]
        values = {**constants, **dict(zip(keys, values, strict=False))}

        def gathered(pairs: tf.Tensor) -> dict[str, tf.Tensor]:
            return {key: tf.gather(values[key], rows) for key, rows in places(pairs).items()}

        def score_group(start: tf.Tensor, found: tf.TensorArray) -> tuple:
            scores = score(gathered(order[start : start + group_size]), weights)
            return start + group_size, found.write(start // group_size, scores)

        count = tf.size(order)
        wide = tf.float64 if values["words"].dtype == tf.float64 else tf.float32
        found = tf.TensorArray(
            wide, -(-count // group_size), element_shape=[None], infer_shape=False
        )
        found = tf.while_loop(
            lambda start, _: start < count, score_group, (0, found), parallel_iterations=1
        )[1]
        scores = found.concat()

        def gradient(slopes: tf.Tensor) -> tuple:
            slopes = tf.gather(slopes, order)
            # Hinges within the margin have none; a score that is no number must be seen, though.
            needed = tf.where((slopes != 0) | ~tf.math.is_finite(scores))[:, 0]
            pairs, slopes = tf.gather(order, needed), tf.gather(slopes, needed)

            def add_group(start: tf.Tensor, *sums: tf.Tensor) -> tuple:
                group = pairs[start : start + group_size]
                parts = gathered(group)
                inputs = [parts[key] for key in keys]
                with tf.GradientTape() as tape:
                    tape.watch([*inputs, *weights])
                    group_scores = score(parts, weights)
                added = tape.gradient(
                    group_scores,
                    [*inputs, *weights],
                    slopes[start : start + group_size],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                rows = places(group)
                of_values = [
                    tf.tensor_scatter_nd_add(total, rows[key][..., None], x)
                    for key, total, x in zip(keys, sums, added, strict=False)
                ]
                of_weights = [
                    total + x
                    for total, x in zip(sums[len(keys) :], added[len(keys) :], strict=True)
                ]
                return start + group_size, *of_values, *of_weights

            # Zeros of a known shape would become constants of the graph, and stay in memory.
            nothing = tf.minimum(tf.size(pairs), 0)
            zeros = [
                tf.fill(tf.shape(value), tf.cast(nothing, value.dtype))
                for value in [*(values[key] for key in keys), *weights]
            ]
            return tf.while_loop(
                lambda start, *_: start < tf.size(pairs),
                add_group,
                (0, *zeros),
                shape_invariants=(tf.TensorShape([]), *(zero.shape for zero in zeros)),
                parallel_iterations=1,
            )[1:]

        return tf.gather(scores, tf.math.invert_permutation(order)), gradient

    return in_groups(*(constants[key] for key in keys), *sources)
