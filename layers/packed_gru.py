"""The recurrence of a GRU over packed captions (HSLM Eq. 12-13).

Captions are sorted by length, longest first, so that the captions that still have a word at step t
are the first `counts[t]` ones, and no step computes a padding word. In training both directions run
at once, and the gradient is written out: that of the recurrent kernels is one large matrix product
instead of one small one a step. Otherwise each direction runs by itself and keeps only its states.
"""

from typing import NamedTuple

import tensorflow as tf


class Packing(NamedTuple):
    """Where the words of padded captions stand when packed step by step.

    Attributes:
        words: int32 `[words]`, the place of each packed word among the `captions x tokens` padded
            ones; words of step 0 first, those of one step from the longest caption to the shortest.
        reversed: int32 `[words]`, the packed place of the word that the opposite direction reads
            at the same step; applied twice, it gives the original order.
        counts: int32 `[steps]`, words of each step.
        starts: int32 `[steps]`, words before each step.
    """

    words: tf.Tensor
    reversed: tf.Tensor
    counts: tf.Tensor
    starts: tf.Tensor


def packing(mask: tf.Tensor) -> Packing:
    """Packs captions step by step.

    Args:
        mask: boolean `[captions, tokens]`, True for real words, padding on the right.

    Returns:
        The packing.
    """
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


@tf.custom_gradient
def packed_bidirectional_gru(
    forward_input: tf.Tensor,
    backward_input: tf.Tensor,
    forward_kernel: tf.Tensor,
    backward_kernel: tf.Tensor,
    biases: tf.Tensor,
    counts: tf.Tensor,
    starts: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs the recurrence of Keras's GRU (`reset_after=True`) from zero states.

    `z, r = sigmoid(x_z + h U_z), sigmoid(x_r + h U_r)`,
    `c = tanh(x_c + r (h U_c + b_c))`, `h' = z h + (1 - z) c`. Matrix products are computed in the
    dtype of the kernels, everything else in that of `biases`.

    Args:
        forward_input: `[words, 3 units]`, packed words times input kernel, with all biases but
            b_c; gates in the order z, r, c.
        backward_input: the same for the other direction, its words in its own order.
        forward_kernel: `[units, 3 units]`, recurrent kernel U.
        backward_kernel: `[units, 3 units]`.
        biases: `[2, units]`, float32 or float64, b_c of both directions.
        counts: int32 `[steps]`, see `Packing`.
        starts: int32 `[steps]`, see `Packing`.

    Returns:
        States of both directions, `[words, units]` each, packed, in the dtype of `biases`.
    """
    wide, narrow = biases.dtype, forward_kernel.dtype
    units = forward_kernel.shape[0]
    inputs, kernels = (forward_input, backward_input), tf.stack([forward_kernel, backward_kernel])
    steps = tf.size(counts)
    # The loop saves one array a step: the rows of the forward direction, then the backward rows.
    step_of_word = tf.repeat(tf.range(steps), counts)
    forward_rows = tf.range(tf.size(step_of_word)) + tf.gather(starts, step_of_word)
    rows = (forward_rows, forward_rows + tf.gather(counts, step_of_word))

    def step_of(saved: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        piece = saved[2 * starts[t] : 2 * (starts[t] + counts[t])]
        return tf.reshape(piece, [2, counts[t], saved.shape[-1]])

    def both(pair: tuple[tf.Tensor, tf.Tensor], t: tf.Tensor) -> tf.Tensor:
        pieces = [x[starts[t] : starts[t] + counts[t]] for x in pair]
        return tf.cast(tf.stack(pieces), wide)

    def saving(width: int) -> tf.TensorArray:
        return tf.TensorArray(wide, steps, element_shape=[None, width], infer_shape=False)

    def flat(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [-1, x.shape[-1]])

    def forward(t, state, *saved):
        state = state[:, : counts[t]]
        recurrent = tf.cast(tf.matmul(tf.cast(state, narrow), kernels), wide)
        x = both(inputs, t)
        gates = tf.sigmoid(x[..., : 2 * units] + recurrent[..., : 2 * units])
        update, reset = gates[..., :units], gates[..., units:]
        inner = recurrent[..., 2 * units :] + biases[:, None]
        candidate = tf.tanh(x[..., 2 * units :] + reset * inner)
        new = candidate + update * (state - candidate)
        values = (new, state, gates, candidate, inner)
        return t + 1, new, *(a.write(t, flat(v)) for a, v in zip(saved, values, strict=True))

    widths = (units, units, 2 * units, units, units)
    nothing = tf.zeros([2, counts[0], units], wide)
    any_shape = tf.TensorShape(None)
    loop = tf.while_loop(
        lambda t, *_: t < steps,
        forward,
        (0, nothing, *(saving(width) for width in widths)),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([2, None, units]),
            *(any_shape for _ in widths),
        ),
    )
    states, previous, all_gates, candidates, inners = (saved.concat() for saved in loop[2:])

    def gradient(*d_states: tf.Tensor) -> tuple:
        # A layer that gathered rows of an output returns its gradient as sparse slices.
        d_states = [tf.convert_to_tensor(d_state) for d_state in d_states]

        def backward(i, d_state, d_candidates, d_recurrents):
            t = steps - 1 - i
            gates, candidate = step_of(all_gates, t), step_of(candidates, t)
            update, reset = gates[..., :units], gates[..., units:]
            # Captions that end at this step get nothing from the step after.
            ended = counts[t] - tf.shape(d_state)[1]
            d_state = tf.pad(d_state, [[0, 0], [0, ended], [0, 0]]) + both(d_states, t)
            d_candidate = d_state * (1 - update) * (1 - candidate * candidate)
            d_update = d_state * (step_of(previous, t) - candidate) * update * (1 - update)
            d_reset = d_candidate * step_of(inners, t) * reset * (1 - reset)
            d_recurrent = tf.concat([d_update, d_reset, d_candidate * reset], axis=-1)
            through = tf.matmul(tf.cast(d_recurrent, narrow), kernels, transpose_b=True)
            return (
                i + 1,
                d_state * update + tf.cast(through, wide),
                d_candidates.write(t, flat(d_candidate)),
                d_recurrents.write(t, flat(d_recurrent)),
            )

        loop = tf.while_loop(
            lambda i, *_: i < steps,
            backward,
            (0, nothing[:, :0], saving(units), saving(3 * units)),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([2, None, units]),
                any_shape,
                any_shape,
            ),
        )
        d_candidates, all_recurrents = loop[2].concat(), loop[3].concat()
        d_recurrents = [tf.gather(all_recurrents, r) for r in rows]
        d_inputs = [
            tf.cast(tf.concat([d[:, : 2 * units], tf.gather(d_candidates, r)], -1), narrow)
            for r, d in zip(rows, d_recurrents, strict=True)
        ]
        # Two products: one batched product of transposed matrices takes twice as long on a CPU.
        d_kernels = [
            tf.matmul(tf.cast(tf.gather(previous, r), narrow), tf.cast(d, narrow), transpose_a=True)
            for r, d in zip(rows, d_recurrents, strict=True)
        ]
        d_biases = tf.stack([tf.reduce_sum(d[:, 2 * units :], axis=0) for d in d_recurrents])
        return *d_inputs, *d_kernels, d_biases, None, None

    return tuple(tf.gather(states, r) for r in rows), gradient


def packed_gru_states(
    inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, counts: tf.Tensor
) -> tf.Tensor:
    """Runs one direction of `packed_bidirectional_gru` without a gradient of its own.

    Nothing is kept for a gradient, and no kernel is copied. With few captions a step takes as long
    as reading its kernel, with one core, so two directions that do not wait for each other take
    half as long as both in one product. TensorFlow can derive it, more slowly.

    Args:
        inputs: `[words, 3 units]`, as `forward_input`.
        kernel: `[units, 3 units]`, recurrent kernel U.
        bias: `[units]`, float32 or float64, b_c.
        counts: int32 `[steps]`, see `Packing`.

    Returns:
        States `[words, units]`, packed, in the dtype of `bias`.
    """
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
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, units]),
            tf.TensorShape(None),
        ),
    )
    return states.concat()
