"""A loss on all images against all captions, in the memory of one block."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from hslm_tf.layers.custom_gradient import custom_gradient
from hslm_tf.training.batch_share import num_replicas
from hslm_tf.training.retrieval_loss import BatchLosses, either

Tensors = Mapping[str, tf.Tensor]


def matrix_loss(
    loss: Callable[[tf.Tensor], BatchLosses],
    score_block: Callable[[Tensors, Tensors], tf.Tensor],
    images: Tensors,
    captions: Tensors,
    variables: Sequence[keras.Variable],
    block_size: tf.Tensor,
    loss_scale: tf.Tensor | float = 1.0,
) -> BatchLosses:
    """Computes a loss on the scores of all images and captions, and its gradient with it.

    The tensors between encodings and scores are large: for every image, a vector for every word.
    Where one block holds all images, they are kept for the gradient. Otherwise nothing is kept: all
    blocks are scored, the loss gives the derivative by every score, and each block is scored once
    more to add up its gradient. So memory is that of one block for any batch.

    Args:
        loss: called with the scores, `[n, m]`; only its `loss` has a gradient.
        score_block: scores `[b, m]` of b images against all captions.
        images: tensors whose first dimension is the n images.
        captions: the captions, all of them for every block.
        variables: the trainable variables that `score_block` uses.
        block_size: int scalar, images of a block.
        loss_scale: scalar that the loss is multiplied by while its gradient is computed, and the
            gradient divided by afterwards, so that it does not vanish in float16.

    Returns:
        What `loss` returned.
    """
    image_keys = [key for key, value in images.items() if value.dtype.is_floating]
    caption_keys = [key for key, value in captions.items() if value.dtype.is_floating]
    count = tf.shape(images[image_keys[0]])[0]
    block_size = tf.minimum(block_size, count)
    # A custom gradient knows TensorFlow's variables, not the Keras variables around them.
    sources = [variable.value for variable in variables]

    @custom_gradient
    def with_gradient(*values: tf.Tensor) -> tuple:
        found_images = {**images, **dict(zip(image_keys, values, strict=False))}
        found_captions = {
            **captions,
            **dict(zip(caption_keys, values[len(image_keys) :], strict=True)),
        }

        def at_once() -> tuple:
            with tf.GradientTape() as tape:
                tape.watch(values)
                losses = loss(score_block(found_images, found_captions))
                scaled = losses.loss * tf.cast(loss_scale, losses.loss.dtype)
            return tuple(losses), _gradients(tape, scaled, [*values, *sources])

        def in_blocks() -> tuple:
            blocks = -(-count // block_size)
            # The last block is filled up with the first images, and these scores are dropped.
            rows = tf.reshape(tf.range(blocks * block_size) % count, [blocks, block_size])

            def score(block: tf.Tensor) -> tf.Tensor:
                part = {key: tf.gather(x, rows[block]) for key, x in found_images.items()}
                return score_block(part, found_captions)

            dtype = tf.float64 if values[0].dtype == tf.float64 else tf.float32
            scores = tf.map_fn(
                score,
                tf.range(blocks),
                fn_output_signature=tf.TensorSpec([None, None], dtype),
                parallel_iterations=1,
            )
            scores = tf.reshape(scores, [blocks * block_size, -1])[:count]
            with tf.GradientTape() as tape:
                tape.watch(scores)
                losses = loss(scores)
                scaled = losses.loss * tf.cast(loss_scale, dtype)
            slopes = tape.gradient(scaled, scores)
            slopes = tf.pad(slopes, [[0, blocks * block_size - count], [0, 0]])
            slopes = tf.reshape(slopes, [blocks, block_size, -1])

            def add_block(block: tf.Tensor, *sums: tf.Tensor) -> tuple:
                with tf.GradientTape() as tape:
                    tape.watch(values)
                    scores = score(block)
                added = _gradients(tape, scores, [*values, *sources], slopes[block])
                return block + 1, *(a + b for a, b in zip(sums, added, strict=True))

            zeros = [tf.zeros_like(value) for value in [*values, *sources]]
            sums = tf.while_loop(
                lambda block, *_: block < blocks,
                add_block,
                (tf.constant(0), *zeros),
                shape_invariants=(tf.TensorShape([]), *(zero.shape for zero in zeros)),
                parallel_iterations=1,
            )
            return tuple(losses), tuple(sums[1:])

        # Replicas meet in the loss, which they cannot do within a condition.
        fits = False if num_replicas() > 1 else count == block_size
        losses, gradients = either(fits, at_once, in_blocks)

        def gradient(
            slope: tf.Tensor, *_: tf.Tensor, variables: Sequence[tf.Variable] = ()
        ) -> tuple:
            slope /= tf.cast(loss_scale, slope.dtype)
            scaled = [_times(slope, x) for x in gradients]
            by_variable = {
                source.ref(): x for source, x in zip(sources, scaled[len(values) :], strict=True)
            }
            of_variables = [by_variable[variable.ref()] for variable in variables]
            return scaled[: len(values)], of_variables

        return losses, gradient

    inputs = [*(images[key] for key in image_keys), *(captions[key] for key in caption_keys)]
    return BatchLosses(*with_gradient(*inputs))


def _times(slope: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Scales a gradient in the dtype of the loss: the factor may be too large for that of `x`."""
    return tf.cast(tf.cast(x, slope.dtype) * slope, x.dtype)


def _gradients(
    tape: tf.GradientTape, target: tf.Tensor, sources: list, slopes: tf.Tensor | None = None
) -> tuple[tf.Tensor, ...]:
    gradients = tape.gradient(
        target, sources, slopes, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return tuple(tf.convert_to_tensor(gradient) for gradient in gradients)
