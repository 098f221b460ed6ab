"""The recurrence of a GRU over packed captions (HSLM Eq. 12-13).

Captions are sorted by length, longest first, so that the captions that still have a word at step t
are the first `counts[t]` ones, and no step computes a padding word. In training the gradient is
written out: that of the recurrent kernel is one large matrix product instead of one small one a
step. Otherwise only the states are kept.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from hslm_tf.layers.custom_gradient import custom_gradient


class Packing(NamedTuple):
    """Where the words of padded captions stand when packed step by step."""

    # The place of each packed word among the padded ones.
    words: tf.Tensor
    # The packed place of the word that the opposite direction reads at the same step.
    reversed: tf.Tensor
    # Words of each step, and words before it.
    counts: tf.Tensor
    starts: tf.Tensor


def packing(mask: tf.Tensor) -> Packing:
    """Packs captions step by step."""
    lengths = tf.math.count_nonzero(mask, axis=1, dtype=tf.int32)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    place = tf.where(tf.transpose(tf.gather(mask, order)))
    step, rank = tf.unstack(tf.cast(place, tf.int32), axis=1)
    counts = tf.math.count_nonzero(mask, axis=0, dtype=tf.int32)[: tf.reduce_max(lengths)]
    starts = tf.cumsum(counts, exclusive=True)
    caption = tf.gather(order, rank)
    mirrored = tf.gather(lengths, caption) - 1 - step
    return Packing(
        words=caption * tf.shape(mask)[1] + step,
        reversed=tf.gather(starts, mirrored) + rank,
        counts=counts,
        starts=starts,
    )


@custom_gradient
def packed_gru(
    inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, counts: tf.Tensor, starts: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    """Runs Keras's GRU (`reset_after=True`) from zero states, in one direction."""
    # `inputs` are packed words times input kernel, with all biases but `bias`, that of the
    # candidate state; gates in the order z, r, c. Products are computed in the dtype of `kernel`,
    # everything else in that of `bias`.
    wide, narrow, units = bias.dtype, kernel.dtype, kernel.shape[0]
    steps = tf.size(counts)

    def piece(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        return x[starts[t] : starts[t] + counts[t]]

    def saving(width: int) -> tf.TensorArray:
        return tf.TensorArray(wide, steps, element_shape=[None, width], infer_shape=False)

    def write(arrays: Sequence[tf.TensorArray], t: tf.Tensor, values: tuple) -> list:
        return [array.write(t, value) for array, value in zip(arrays, values, strict=True)]

    def cell(t: tf.Tensor, state: tf.Tensor, recurrent: tf.Tensor) -> tuple:
        x = tf.cast(piece(inputs, t), wide)
        gates = tf.sigmoid(x[:, : 2 * units] + recurrent[:, : 2 * units])
        inner = recurrent[:, 2 * units :] + bias
        candidate = tf.tanh(x[:, 2 * units :] + gates[:, units:] * inner)
        new = candidate + gates[:, :units] * (state - candidate)
        return new, gates, candidate, inner

    def forward(t: tf.Tensor, state: tf.Tensor, *saved: tf.TensorArray) -> tuple:
        state = state[: counts[t]]
        recurrent = tf.cast(tf.matmul(tf.cast(state, narrow), kernel), wide)
        values = cell(t, state, recurrent)
        return t + 1, values[0], *write(saved, t, values)

    # The first step has no states before it, and so no product.
    nothing = tf.zeros([counts[0], 3 * units], wide)
    first = cell(0, nothing[:, :units], nothing)
    saved = write([saving(width) for width in (units, 2 * units, units, units)], 0, first)
    any_state, any_array = tf.TensorShape([None, units]), tf.TensorShape(None)
    loop = tf.while_loop(
        lambda t, *_: t < steps,
        forward,
        (1, first[0], *saved),
        shape_invariants=(tf.TensorShape([]), any_state, *(any_array for _ in saved)),
    )
    states, all_gates, candidates, inners = (array.concat() for array in loop[2:])

    def gradient(d_states: tf.Tensor) -> tuple:
        # A layer that gathered rows of the output returns its gradient as sparse slices.
        d_states = tf.convert_to_tensor(d_states)

        def cell_gradient(t: tf.Tensor, before: tf.Tensor, d_later: tf.Tensor) -> tuple:
            gates, candidate = piece(all_gates, t), piece(candidates, t)
            update, reset = gates[:, :units], gates[:, units:]
            # Captions that end at this step get nothing from the step after.
            ended = counts[t] - tf.shape(d_later)[0]
            d_state = tf.pad(d_later, [[0, ended], [0, 0]]) + piece(d_states, t)
            d_candidate = d_state * (1 - update) * (1 - candidate * candidate)
            d_update = d_state * (before - candidate) * update * (1 - update)
            d_reset = d_candidate * piece(inners, t) * reset * (1 - reset)
            d_recurrent = tf.concat([d_update, d_reset, d_candidate * reset], axis=-1)
            return d_state * update, d_candidate, d_recurrent

        def backward(t: tf.Tensor, d_later: tf.Tensor, *saved: tf.TensorArray) -> tuple:
            before = states[starts[t - 1] : starts[t - 1] + counts[t]]
            d_before, *values = cell_gradient(t, before, d_later)
            through = tf.matmul(tf.cast(values[-1], narrow), kernel, transpose_b=True)
            return t - 1, d_before + tf.cast(through, wide), *write(saved, t, values)

        loop = tf.while_loop(
            lambda t, *_: t > 0,
            backward,
            (steps - 1, nothing[:0, :units], saving(units), saving(3 * units)),
            shape_invariants=(tf.TensorShape([]), any_state, any_array, any_array),
        )
        saved = write(loop[2:], 0, cell_gradient(0, nothing[:, :units], loop[1])[1:])
        d_candidates, d_recurrents = (array.concat() for array in saved)
        d_inputs = tf.concat([d_recurrents[:, : 2 * units], d_candidates], axis=-1)
        # Words of the first step have no state before them.
        place_before = tf.range(counts[0], tf.shape(states)[0]) - tf.repeat(counts[:-1], counts[1:])
        d_kernel = tf.matmul(
            tf.cast(tf.gather(states, place_before), narrow),
            tf.cast(d_recurrents[counts[0] :], narrow),
            transpose_a=True,
        )
        d_bias = tf.reduce_sum(d_recurrents[:, 2 * units :], axis=0)
        return tf.cast(d_inputs, narrow), d_kernel, d_bias, None, None

    return states, gradient


def packed_gru_states(
    inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, counts: tf.Tensor
) -> tf.Tensor:
    """Runs `packed_gru` without its gradient: nothing is kept for it, which is faster."""
    wide, narrow = bias.dtype, kernel.dtype
    units, steps = kernel.shape[0], tf.size(counts)

    def array(dtype: tf.DType, width: int) -> tf.TensorArray:
        return tf.TensorArray(dtype, steps, element_shape=[None, width], infer_shape=False)

    inputs = array(inputs.dtype, 3 * units).split(inputs, counts)

    def step(t: tf.Tensor, state: tf.Tensor, states: tf.TensorArray) -> tuple:
        x = tf.cast(inputs.read(t), wide)
        state = state[: tf.shape(x)[0]]
        recurrent = tf.cast(tf.matmul(tf.cast(state, narrow), kernel), wide)
        gates = tf.sigmoid(x[:, : 2 * units] + recurrent[:, : 2 * units])
        update, reset = gates[:, :units], gates[:, units:]
        candidate = tf.tanh(x[:, 2 * units :] + reset * (recurrent[:, 2 * units :] + bias))
        state = candidate + update * (state - candidate)
        return t + 1, state, states.write(t, state)

    *_, states = tf.while_loop(
        lambda t, *_: t < steps,
        step,
        (0, tf.zeros([counts[0], units], wide), array(wide, units)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, units]), tf.TensorShape(None)),
    )
    return states.concat()
