"""Scores with a gradient, for training: all pairs of a batch, or chosen ones."""

import keras
import tensorflow as tf

from hslm_tf.layers.packed_words import num_captions
from hslm_tf.models.block_scoring import BlockScoring, Encoding, packed_words
from hslm_tf.training.score_in_blocks import score_in_blocks

# Numbers between encodings and scores of a block, 256 MiB; `all_scores` says what is counted.
BLOCK_NUMBERS = 2**26
# Chosen pairs that are scored at a time.
BLOCK_PAIRS = 128
# Pairs of a batch beyond which its halves are aligned by themselves: the time grows with the square
# of the batch, and half of the negatives teach as much.
ALIGNED_BATCH = 128
# Stands for the cosine of a pair that is not compared; a softmax gives it no weight.
NOT_COMPARED = -1e9
# The layers that score the global vectors.
GLOBAL_LAYERS = ("global_similarity", "similarity_fusion")


def all_scores(scoring: BlockScoring, images: Encoding, texts: Encoding, on: str) -> tf.Tensor:
    """Scores all images against all captions, see `ScoredBatch.all_scores`."""
    matcher, config = scoring.matcher, scoring.config
    variables, width = matcher.trainable_variables, config.joint_dim
    if on == "global" and config.pools_regions:
        layers = [matcher.get_layer(name) for name in GLOBAL_LAYERS]
        variables = [variable for layer in layers for variable in layer.trainable_variables]
        images = {"image_global": images["image_global"]}
        captions = {"text_global": texts["text_global"][None]}
        rows = captions["text_global"]

        def score_block(images: Encoding, captions: Encoding) -> tf.Tensor:
            text, image = captions["text_global"][:, None], images["image_global"][None, :, None]
            return layers[1]({"global": layers[0](text, image)})[0]

    elif on == "alignment":
        attention = matcher.get_layer("cross_attention")
        variables = attention.trainable_variables
        # For every word there is a number for each region, and no vector.
        width = config.max_regions
        images = {key: images[key] for key in ("regions", "region_mask")}
        captions = packed_words(texts)
        rows = captions["words"]

        def score_block(images: Encoding, captions: Encoding) -> tf.Tensor:
            return _aligned_halves(attention, images, captions)

    else:
        images, captions = scoring.prepared(images), scoring.packed(texts)
        rows = captions["words" if config.cross_attention else "text_global"]
        score_block = scoring.match_block
        # Four vectors of every image and word are kept. The other two are faster in one block, and
        # count their largest tensor alone.
        width *= 4
    num_rows = rows.shape[1] or tf.shape(rows)[1]
    block_size = 1 + BLOCK_NUMBERS // (width * num_rows)
    scores = score_in_blocks(score_block, images, captions, variables, block_size)
    return tf.ensure_shape(scores, [None, None])


def chosen_scores(
    scoring: BlockScoring,
    images: Encoding,
    texts: Encoding,
    image_rows: tf.Tensor,
    text_rows: tf.Tensor,
) -> tf.Tensor:
    """Scores chosen pairs."""
    lengths = tf.math.count_nonzero(texts["word_mask"], axis=1, dtype=tf.int32)
    # Blocks of captions of one length have little padding.
    order = tf.argsort(tf.gather(lengths, text_rows), stable=True)
    image_rows, text_rows = tf.gather(image_rows, order), tf.gather(text_rows, order)
    rows = {"image": image_rows, "text": text_rows, "length": tf.gather(lengths, text_rows)}

    def score_block(rows: Encoding, encoded: Encoding) -> tf.Tensor:
        longest = tf.reduce_max(rows["length"])
        captions = {key: encoded[key] for key in texts}
        for key in ("words", "word_mask"):
            captions[key] = captions[key][:, :longest]
        return scoring.pairs(
            {key: tf.gather(encoded[key], rows["image"]) for key in images},
            {key: tf.gather(x, rows["text"]) for key, x in captions.items()},
        )

    variables = scoring.matcher.trainable_variables
    scores = score_in_blocks(score_block, rows, {**images, **texts}, variables, BLOCK_PAIRS)
    return tf.gather(tf.ensure_shape(scores, [None]), tf.math.invert_permutation(order))


def _aligned_halves(
    attention: keras.layers.Layer, images: Encoding, captions: Encoding
) -> tf.Tensor:
    """As `_aligned`; pairs of an image and a caption of other halves are not compared."""
    count, total = tf.shape(images["regions"])[0], num_captions(captions["segment_ids"])
    # A block of images, or a replica's share, is compared with all captions.
    halved = (count == total) & (count > ALIGNED_BATCH)
    # The second half of a batch that is not halved is empty: a condition would make a larger graph.
    num_images, num_texts = (tf.where(halved, x // 2, x) for x in (count, total))
    # Captions are packed in order.
    num_words = tf.math.count_nonzero(captions["segment_ids"] < num_texts, dtype=tf.int32)
    # The gradient of a split joins its parts; that of a slice adds whole tensors of zeros.
    regions, region_mask = (
        tf.split(images[key], [num_images, -1]) for key in ("regions", "region_mask")
    )
    words, segment_ids = (
        tf.split(captions[key], [num_words, -1], axis=1) for key in ("words", "segment_ids")
    )
    numbers = tf.range(num_texts), tf.range(num_texts, total)
    halves = zip(regions, region_mask, words, segment_ids, numbers, strict=True)
    first, second = (_aligned(attention, *half) for half in halves)
    first = tf.pad(first, [[0, 0], [0, total - num_texts]], constant_values=NOT_COMPARED)
    second = tf.pad(second, [[0, 0], [num_texts, 0]], constant_values=NOT_COMPARED)
    return tf.concat([first, second], axis=0)


def _aligned(
    attention: keras.layers.Layer,
    regions: tf.Tensor,
    region_mask: tf.Tensor,
    words: tf.Tensor,
    segment_ids: tf.Tensor,
    numbers: tf.Tensor,
) -> tf.Tensor:
    """Mean cosine of a caption's words and what they attend to, `[images, captions]`."""
    cosines = attention.alignment(words, regions[None], region_mask[None])[0]
    # A product with the words of each caption: sums of segments make a far larger graph.
    share = tf.cast(segment_ids[0][:, None] == numbers, cosines.dtype)
    return tf.matmul(cosines, share / tf.reduce_sum(share, axis=0))
