"""Scores of encoded images and captions: aligned pairs, all pairs, and lists of captions."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.layers.packed_words import pack_words
from hslm_tf.models.networks import aligned_blocks
from hslm_tf.training.score_in_blocks import joined_blocks

Encoding = Mapping[str, tf.Tensor]


class BlockScoring:
    """Brings encodings into the form that the matcher takes, and runs it block by block."""

    def __init__(self, matcher: keras.Model, config: ModelConfig) -> None:
        self.matcher = matcher
        self.config = config

    def pairs(self, images: Encoding, texts: Encoding) -> tf.Tensor:
        """Scores image i against caption i."""
        return self._match(aligned_blocks(images, texts))[:, 0, 0]

    def matrix(
        self, images: Encoding, texts: Encoding, image_block_size: int | tf.Tensor
    ) -> tf.Tensor:
        """Scores all images against all captions, in blocks of images."""
        captions, count = self.packed(texts), tf.shape(images["regions"])[0]
        size = tf.minimum(image_block_size, count)

        def score_block(start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
            # Products of another size could be rounded in another way: the last block is as long as
            # the others, and overlaps the one before.
            first = stop - size
            block = {key: x[first:stop] for key, x in images.items()}
            return self.match_block(block, captions)[start - first :]

        return joined_blocks(
            score_block,
            count,
            size,
            self.matcher.output["scores"].dtype,
            element_shape=[None, None],
            parallel_iterations=2,
        )

    def lists(
        self,
        images: Encoding,
        captions: Encoding,
        list_images: tf.Tensor,
        list_captions: tf.Tensor,
        splits: tf.Tensor,
    ) -> tf.Tensor:
        """Scores lists of an image and some captions each: pairs that are no whole matrix."""

        def score_list(number: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            rows = list_captions[splits[number] : splits[number + 1]]
            lengths, block = tf.gather(captions["lengths"], rows), {}
            if self.config.cross_attention:
                starts = tf.gather(captions["starts"], rows)
                places = tf.ragged.range(starts, starts + lengths).flat_values
                block["words"] = tf.gather(captions["words"], places)[None]
                block["segment_ids"] = tf.repeat(tf.range(tf.size(rows)), lengths)[None]
            if self.config.global_alignment:
                block["text_global"] = tf.gather(captions["text_global"], rows)[None]
            image = {key: x[list_images[number]][None] for key, x in images.items()}
            return self.match_block(image, block)[0]

        return joined_blocks(
            score_list,
            tf.size(list_images),
            1,
            self.matcher.output["scores"].dtype,
            element_shape=[None],
            parallel_iterations=2,
        )

    def prepared(self, images: Encoding, num_captions: int | None = None) -> Encoding:
        """Adds what the matcher needs of an image for any caption, so that it is computed once."""
        # Products of all regions of an image cost more than they save for a few captions.
        few = num_captions is not None and 2 * num_captions <= self.config.max_regions
        if few or "region_products" not in self.matcher.input or "region_products" in images:
            return images
        pooling = self.matcher.get_layer("attended_pooling")
        return {**images, "region_products": pooling.region_products(images["regions"])}

    def packed(self, texts: Encoding) -> dict[str, tf.Tensor]:
        """The captions of one block, as the matcher takes them."""
        captions = packed_words(texts) if self.config.cross_attention else {}
        if self.config.global_alignment:
            captions["text_global"] = texts["text_global"][None]
        return captions

    def match_block(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """Scores the images of a block against its captions, `[images, captions]`."""
        return self._match({**{key: x[None] for key, x in images.items()}, **captions})[0]

    def _match(self, blocks: Encoding) -> tf.Tensor:
        return self.matcher({key: blocks.get(key) for key in self.matcher.input})["scores"]


def packed_words(texts: Encoding) -> dict[str, tf.Tensor]:
    """The words of all captions as one block."""
    words, segment_ids = pack_words(texts["words"], texts["word_mask"])
    return {"words": words, "segment_ids": segment_ids}
