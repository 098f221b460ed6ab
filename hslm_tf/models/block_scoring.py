"""Scores of encoded images and captions: aligned pairs, all pairs, and both with a gradient."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.layers.packed_words import num_captions, pack_words, sum_by_caption
from hslm_tf.models.networks import aligned_blocks
from hslm_tf.training.score_in_blocks import score_in_blocks

Encoding = Mapping[str, tf.Tensor]
# Numbers in the largest tensor between encodings and scores, in training on all pairs: 256 MiB.
BLOCK_NUMBERS = 2**26
# Chosen pairs that training scores at a time.
BLOCK_PAIRS = 128
# Pairs of a batch beyond which its halves are compared by themselves, in a loss on the alignment.
ALIGNED_BATCH = 128
# What stands for the cosine of a pair that is not compared: no softmax sees it.
NOT_COMPARED = -1e9
# The layers that score the global vectors.
GLOBAL_LAYERS = ("global_similarity", "similarity_fusion")


class BlockScoring:
    """Brings encodings into the form that the matcher takes, and runs it block by block."""

    def __init__(
        self,
        matcher: keras.Model,
        config: ModelConfig,
        images: Mapping[str, tf.TensorSpec],
        texts: Mapping[str, tf.TensorSpec],
    ) -> None:
        self._matcher = matcher
        self._config = config
        count = tf.TensorSpec([], tf.int32)
        self._lists_graph = tf.function(self.lists, reduce_retracing=True)
        self._matrix_graph = tf.function(self.matrix, input_signature=[images, texts, count])
        if "region_products" in matcher.input:
            products = matcher.input["region_products"]
            products = tf.TensorSpec(products.shape[1:], products.dtype)
            self._prepared_graph = tf.function(
                self.matrix, input_signature=[{**images, "region_products": products}, texts, count]
            )

    def pairs(self, images: Encoding, texts: Encoding) -> tf.Tensor:
        """Scores image i against caption i."""
        return self._match(aligned_blocks(images, texts))[:, 0, 0]

    def matrix(
        self, images: Encoding, texts: Encoding, image_block_size: int | tf.Tensor
    ) -> tf.Tensor:
        """Scores all images against all captions, in blocks of images."""
        captions = self._packed(texts)
        count = tf.shape(images["regions"])[0]
        size = tf.minimum(image_block_size, count)
        last = count - size
        starts = tf.range(0, count, size)

        def score_block(start: tf.Tensor) -> tf.Tensor:
            # A slice copies nothing. The last one overlaps the one before, to be as long.
            start = tf.minimum(start, last)
            block = {key: value[start : start + size] for key, value in images.items()}
            return self._match_block(block, captions)

        dtype = self._matcher.output["scores"].dtype
        scores = tf.map_fn(score_block, starts, fn_output_signature=dtype, parallel_iterations=2)
        whole, rest = scores[:-1], scores[-1, starts[-1] - last :]
        return tf.concat([tf.reshape(whole, [-1, tf.shape(scores)[2]]), rest], axis=0)

    def compiled_matrix(
        self, images: Encoding, texts: Encoding, image_block_size: int
    ) -> tf.Tensor:
        """Scores all images against all captions, `matrix` as a compiled graph."""
        images = self.prepared(images, len(texts["word_mask"]))
        graph = self._prepared_graph if "region_products" in images else self._matrix_graph
        return graph(dict(images), dict(texts), tf.constant(image_block_size))

    def lists(
        self,
        images: Encoding,
        captions: Encoding,
        list_images: tf.Tensor,
        list_captions: tf.Tensor,
        splits: tf.Tensor,
    ) -> tf.Tensor:
        """Scores lists of an image and some captions each: pairs that are no whole matrix."""

        def score_list(number: tf.Tensor, scores: tf.TensorArray) -> tuple:
            rows = list_captions[splits[number] : splits[number + 1]]
            lengths, block = tf.gather(captions["lengths"], rows), {}
            if self._config.cross_attention:
                starts = tf.gather(captions["starts"], rows)
                places = tf.ragged.range(starts, starts + lengths).flat_values
                block["words"] = tf.gather(captions["words"], places)[None]
                block["segment_ids"] = tf.repeat(tf.range(tf.size(rows)), lengths)[None]
            if self._config.global_alignment:
                block["text_global"] = tf.gather(captions["text_global"], rows)[None]
            image = {key: value[list_images[number]][None] for key, value in images.items()}
            return number + 1, scores.write(number, self._match_block(image, block)[0])

        count = tf.size(list_images)
        scores = tf.TensorArray(
            self._matcher.output["scores"].dtype, count, element_shape=[None], infer_shape=False
        )
        loop = tf.while_loop(
            lambda number, _: number < count, score_list, (0, scores), parallel_iterations=2
        )
        return loop[1].concat()

    def compiled_lists(self, images: Encoding, captions: Encoding, *lists: tf.Tensor) -> tf.Tensor:
        """Scores lists of an image and some captions each, `lists` as a compiled graph."""
        return self._lists_graph(dict(self.prepared(images)), dict(captions), *lists)

    def trained_matrix(self, images: Encoding, texts: Encoding, on: str) -> tf.Tensor:
        """Scores all images against all captions, with gradient, see `score_in_blocks`."""
        variables, width = self._matcher.trainable_variables, self._config.joint_dim
        if on == "global" and self._config.pools_regions:
            layers = [self._matcher.get_layer(name) for name in GLOBAL_LAYERS]
            variables = [variable for layer in layers for variable in layer.trainable_variables]
            images = {"image_global": images["image_global"]}
            captions = {"text_global": texts["text_global"][None]}
            rows, score_block = captions["text_global"], self._match_global
        elif on == "alignment":
            variables = self._matcher.get_layer("cross_attention").trainable_variables
            # For every word there is a number for each region, and no vector.
            width = self._config.max_regions
            images = {key: images[key] for key in ("regions", "region_mask")}
            captions = _packed_words(texts)
            rows, score_block = captions["words"], self._align_halves
        else:
            images, captions = self.prepared(images), self._packed(texts)
            rows = captions["words" if self._config.cross_attention else "text_global"]
            score_block = self._match_block
        num_rows = rows.shape[1] or tf.shape(rows)[1]
        block_size = 1 + BLOCK_NUMBERS // (width * num_rows)
        scores = score_in_blocks(score_block, images, captions, variables, block_size)
        return tf.ensure_shape(scores, [None, None])

    def trained_pairs(
        self, images: Encoding, texts: Encoding, image_rows: tf.Tensor, text_rows: tf.Tensor
    ) -> tf.Tensor:
        """Scores chosen pairs, with gradient, see `score_in_blocks`."""
        lengths = tf.math.count_nonzero(texts["word_mask"], axis=1, dtype=tf.int32)
        # Blocks of captions of one length have little padding.
        order = tf.argsort(tf.gather(lengths, text_rows), stable=True)
        image_rows, text_rows = tf.gather(image_rows, order), tf.gather(text_rows, order)
        rows = {"image": image_rows, "text": text_rows, "length": tf.gather(lengths, text_rows)}

        def score_block(rows: Encoding, encoded: Encoding) -> tf.Tensor:
            longest = tf.reduce_max(rows["length"])
            found = {key: tf.gather(encoded[key], rows["image"]) for key in images}
            captions = {key: encoded[key] for key in texts}
            for key in ("words", "word_mask"):
                captions[key] = captions[key][:, :longest]
            captions = {key: tf.gather(x, rows["text"]) for key, x in captions.items()}
            return self.pairs(found, captions)

        scores = score_in_blocks(
            score_block, rows, {**images, **texts}, self._matcher.trainable_variables, BLOCK_PAIRS
        )
        return tf.gather(tf.ensure_shape(scores, [None]), tf.math.invert_permutation(order))

    def prepared(self, images: Encoding, num_captions: int | None = None) -> Encoding:
        """Adds what the matcher needs of an image for any caption, so that it is computed once."""
        # Products of all regions of an image cost more than they save for a few captions.
        few = num_captions is not None and 2 * num_captions <= self._config.max_regions
        if few or "region_products" not in self._matcher.input or "region_products" in images:
            return images
        pooling = self._matcher.get_layer("attended_pooling")
        return {**images, "region_products": pooling.region_products(images["regions"])}

    def _packed(self, texts: Encoding) -> dict[str, tf.Tensor]:
        """The captions of one block, as the matcher takes them."""
        captions = _packed_words(texts) if self._config.cross_attention else {}
        if self._config.global_alignment:
            captions["text_global"] = texts["text_global"][None]
        return captions

    def _match_block(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """Scores the images of a block against its captions, `[images, captions]`."""
        return self._match({**{key: value[None] for key, value in images.items()}, **captions})[0]

    def _align_halves(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """As `_align`; pairs of an image and a caption of other halves are not compared."""
        count = tf.shape(images["regions"])[0]
        words, segment_ids = captions["words"], captions["segment_ids"]
        half, rest = count // 2, count - count // 2
        # Captions are packed in order.
        num_words = tf.math.count_nonzero(segment_ids < half, dtype=tf.int32)

        def halves() -> tf.Tensor:
            first = self._align(
                {key: x[:half] for key, x in images.items()},
                {"words": words[:, :num_words], "segment_ids": segment_ids[:, :num_words]},
            )
            second = self._align(
                {key: x[half:] for key, x in images.items()},
                {"words": words[:, num_words:], "segment_ids": segment_ids[:, num_words:] - half},
            )
            return tf.concat(
                [
                    tf.pad(first, [[0, 0], [0, rest]], constant_values=NOT_COMPARED),
                    tf.pad(second, [[0, 0], [half, 0]], constant_values=NOT_COMPARED),
                ],
                axis=0,
            )

        # A block of images, or a replica's share, is compared with all captions.
        whole_batch = count == num_captions(segment_ids)
        return tf.cond(
            whole_batch & (count > ALIGNED_BATCH), halves, lambda: self._align(images, captions)
        )

    def _align(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """Mean cosine of a caption's words and what they attend to, `[images, captions]`."""
        attention, segment_ids = self._matcher.get_layer("cross_attention"), captions["segment_ids"]
        regions, region_mask = images["regions"][None], images["region_mask"][None]
        cosines = attention.alignment(captions["words"], regions, region_mask)
        sums = sum_by_caption(cosines[..., None], segment_ids)
        counts = sum_by_caption(tf.ones_like(cosines[:, :1, :, None]), segment_ids)
        return (sums / counts)[0, ..., 0]

    def _match(self, blocks: Encoding) -> tf.Tensor:
        return self._matcher({key: blocks.get(key) for key in self._matcher.input})["scores"]

    def _match_global(self, images: Encoding, captions: Encoding) -> tf.Tensor:
        """Scores by the global vectors alone, `[images, captions]`."""
        similarity, fusion = (self._matcher.get_layer(name) for name in GLOBAL_LAYERS)
        vectors = similarity(
            captions["text_global"][:, None], images["image_global"][None, :, None]
        )
        return fusion({"global": vectors})[0]


def _packed_words(texts: Encoding) -> dict[str, tf.Tensor]:
    words, segment_ids = pack_words(texts["words"], texts["word_mask"])
    return {"words": words, "segment_ids": segment_ids}
