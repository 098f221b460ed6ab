"""All images against all captions with gradient, in the memory of one block."""

from collections.abc import Callable, Mapping

import tensorflow as tf

Tensors = Mapping[str, tf.Tensor]


def score_blockwise(
    score_block: Callable[[Tensors, Tensors], tf.Tensor],
    images: Tensors,
    captions: Tensors,
    block_size: tf.Tensor,
) -> tf.Tensor:
    """Scores all images against all captions; the gradient scores each block once more.

    What lies between the encodings and a score is large: word by word a vector for every image.
    Nothing of it is kept: going back, each block of images is scored again and its gradient added
    up, so that memory is that of one block for any batch. Where one block holds all images, it is
    scored once and kept.

    Args:
        score_block: scores `[b, m]` of b images against m captions.
        images: tensors whose first dimension is the n images.
        captions: the captions, whole for every block.
        block_size: int scalar, images of a block.

    Returns:
        `[n, m]`.
    """
    count = tf.shape(next(iter(images.values())))[0]
    return tf.cond(
        count <= block_size,
        lambda: score_block(images, captions),
        lambda: _in_blocks(score_block, images, captions, block_size),
    )


def _in_blocks(
    score_block: Callable[[Tensors, Tensors], tf.Tensor],
    images: Tensors,
    captions: Tensors,
    block_size: tf.Tensor,
) -> tf.Tensor:
    count = tf.shape(next(iter(images.values())))[0]
    blocks = -(-count // block_size)
    # The last block is filled with images of the first, whose second scores are dropped.
    rows = tf.reshape(tf.range(blocks * block_size) % count, [blocks, block_size])
    image_keys = [key for key, value in images.items() if value.dtype.is_floating]
    caption_keys = [key for key, value in captions.items() if value.dtype.is_floating]

    def block_of(image_values: list[tf.Tensor], block: tf.Tensor) -> dict[str, tf.Tensor]:
        whole = {**images, **dict(zip(image_keys, image_values, strict=True))}
        return {key: tf.gather(value, rows[block]) for key, value in whole.items()}

    @tf.custom_gradient
    def scores_of(*values: tf.Tensor) -> tf.Tensor:
        image_values = list(values[: len(image_keys)])
        caption_values = list(values[len(image_keys) :])
        texts = {**captions, **dict(zip(caption_keys, caption_values, strict=True))}
        first = score_block(block_of(image_values, tf.constant(0)), texts)
        num_captions = tf.shape(first)[1]
        scores = tf.concat(
            [
                first,
                tf.reshape(
                    tf.map_fn(
                        lambda block: score_block(block_of(image_values, block), texts),
                        tf.range(1, blocks),
                        fn_output_signature=tf.TensorSpec([None, None], first.dtype),
                        parallel_iterations=1,
                    ),
                    [-1, num_captions],
                ),
            ],
            axis=0,
        )[:count]

        def gradient(
            upstream: tf.Tensor, variables: list[tf.Variable] | None = None
        ) -> tuple[list[tf.Tensor], list[tf.Tensor]] | list[tf.Tensor]:
            variables = list(variables or ())
            filled = tf.pad(upstream, [[0, blocks * block_size - count], [0, 0]])

            def add_block(block: tf.Tensor, *sums: tf.Tensor) -> tuple:
                slopes = filled[block * block_size : (block + 1) * block_size]
                part = block_of(image_values, block)
                sources = [*(part[key] for key in image_keys), *caption_values, *variables]
                with tf.GradientTape() as tape:
                    tape.watch(sources[: len(values)])
                    found = {**texts, **dict(zip(caption_keys, caption_values, strict=True))}
                    scores = score_block(part, found)
                gradients = tape.gradient(
                    scores, sources, slopes, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
                added = []
                for i, (total, gradient) in enumerate(zip(sums, gradients, strict=True)):
                    if i < len(image_keys):
                        total = tf.tensor_scatter_nd_add(total, rows[block][:, None], gradient)
                    else:
                        total += gradient
                    added.append(total)
                return block + 1, *added

            zeros = [tf.zeros_like(value) for value in [*values, *variables]]
            sums = tf.while_loop(
                lambda block, *_: block < blocks,
                add_block,
                (tf.constant(0), *zeros),
                shape_invariants=(tf.TensorShape([]), *(zero.shape for zero in zeros)),
                parallel_iterations=1,
            )[1:]
            found = list(sums[: len(values)])
            return (found, list(sums[len(values) :])) if variables else found

        return scores, gradient

    return scores_of(*(images[key] for key in image_keys), *(captions[key] for key in caption_keys))
