"""The endpoints of an exported model, as TensorFlow functions of raw strings and features."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads, plain_means
from hslm_tf.serving.precision import Precision, StoredWeights
from hslm_tf.serving.request_rows import ALL_REGIONS, Status
from hslm_tf.serving.search_index import SearchIndex

Tensors = dict[str, tf.Tensor]


class Endpoints:
    """The endpoints of a model; it computes in float32, whatever its weights are stored in."""

    # Errors of content come back row by row, as a `Status` and NaN; errors of shape raise.
    def __init__(
        self,
        model: HSLM,
        precision: Precision = "float32",
        heads: ProjectionHeads | None = None,
        index: SearchIndex | None = None,
    ) -> None:
        self._model = model
        self._heads = heads or plain_means(model)
        self._index = index
        self._weights = StoredWeights([*model.weights, *self._heads.weights], precision)
        self._max_regions = model.config.max_regions
        self._max_tokens = model.config.max_tokens

    @property
    def tracked(self) -> tf.Module:
        """Everything with a state that the endpoints read, for the SavedModel."""
        root = tf.Module(name="hslm")
        root.weights = self._weights.modules
        root.tokenizer = self._model.tokenizer
        if self._index is not None:
            root.index = self._index
        return root

    def signatures(self) -> dict[str, Callable]:
        """The endpoints with the names, shapes and types of their inputs."""
        # A default stays in the SavedModel: `num_regions` may be left out of a request.
        all_regions = tf.constant([ALL_REGIONS])

        def score(region_features, captions, num_regions=all_regions):
            return self._score(region_features, captions, num_regions)

        def encode_image(region_features, num_regions=all_regions):
            return self._encode_image(region_features, num_regions)

        config = self._model.config
        features = tf.TensorSpec(
            [None, config.max_regions, config.region_dim], name="region_features"
        )
        counts = tf.TensorSpec([None], tf.int32, name="num_regions")
        captions = tf.TensorSpec([None], tf.string, name="captions")
        local = tf.TensorSpec([None, None, config.max_regions, config.joint_dim], name="regions")
        masks = tf.TensorSpec([None, None, config.max_regions], tf.bool, name="region_mask")
        lists = tf.TensorSpec([None, None], tf.string, name="captions")
        score = _function(score, features, captions, counts)
        endpoints = {
            "serving_default": score,
            "score": score,
            "encode_text": _function(self._encode_text, captions),
            "encode_image": _function(encode_image, features, counts),
            "score_matrix": _function(self._score_matrix, local, masks, lists),
        }
        if self._index is not None:
            endpoints["search"] = _function(self._search, captions)
        return endpoints

    def examples(self) -> dict[str, dict[str, np.ndarray]]:
        """A small request to every endpoint, for warming up a server."""
        values = {tf.string: b"a dog runs on the grass", tf.int32: ALL_REGIONS, tf.bool: True}
        return {
            name: {
                spec.name: np.full(
                    [size or 1 for size in spec.shape],
                    values.get(spec.dtype, 0.0),
                    spec.dtype.as_numpy_dtype,
                )
                for spec in endpoint.input_signature
            }
            for name, endpoint in self.signatures().items()
        }

    # === Endpoints ===

    def _score(self, features: tf.Tensor, captions: tf.Tensor, num_regions: tf.Tensor) -> Tensors:
        counts = self._counts(num_regions, features)
        _assert_same_rows(features, counts, captions)
        with self._weights.scope():
            images, image_status = self._read_images(features, counts)
            texts, text_status = self._read_captions(captions)
            scores = self._model.score_pairs(images, texts)
        status = tf.where(image_status != Status.OK, image_status, text_status)
        status = _unless_finite(status, scores)
        return {"score": _nan_where_bad(scores, status), "status": status}

    def _encode_image(self, features: tf.Tensor, num_regions: tf.Tensor) -> Tensors:
        counts = self._counts(num_regions, features)
        _assert_same_rows(features, counts)
        with self._weights.scope():
            images, status = self._read_images(features, counts)
            vectors = self._heads.image_tensor(images)
        status = _unless_finite(status, images["regions"])
        answer = {
            "regions": _nan_where_bad(images["regions"], status),
            "region_mask": images["region_mask"] & (status == Status.OK)[:, None],
            "vector": _nan_where_bad(vectors, status),
            "status": status,
        }
        if "image_global" in images:
            answer["image_global"] = _nan_where_bad(images["image_global"], status)
        return answer

    def _encode_text(self, captions: tf.Tensor) -> Tensors:
        _assert_same_rows(captions)
        with self._weights.scope():
            texts, status = self._read_captions(captions)
            vectors = self._heads.text_tensor(texts)
        # A fixed length, because a server may put requests of several clients into one batch.
        missing = self._max_tokens - tf.shape(texts["words"])[1]
        words = tf.pad(_nan_where_bad(texts["words"], status), [[0, 0], [0, missing], [0, 0]])
        mask = tf.pad(texts["word_mask"] & (status == Status.OK)[:, None], [[0, 0], [0, missing]])
        return {
            "words": tf.ensure_shape(words, [None, self._max_tokens, self._model.config.joint_dim]),
            "word_mask": tf.ensure_shape(mask, [None, self._max_tokens]),
            "vector": _nan_where_bad(vectors, status),
            "status": status,
        }

    def _score_matrix(
        self, regions: tf.Tensor, region_mask: tf.Tensor, captions: tf.Tensor
    ) -> Tensors:
        _assert_same_rows(regions, region_mask, captions)
        width = self._model.config.joint_dim
        regions = tf.ensure_shape(regions, [None, None, self._max_regions, width])
        region_mask = tf.ensure_shape(region_mask, [None, None, self._max_regions])
        tf.debugging.assert_equal(
            tf.shape(regions)[1], tf.shape(region_mask)[1], "one region_mask an image is needed"
        )

        def score(rows: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            images, image_status = self._read_local(rows[0], rows[1])
            texts, text_status = self._read_captions(rows[2])
            scores = self._model.score_all(images, texts)
            readable = tf.where(text_status == Status.OK, scores, 0.0)
            image_status = _unless_finite(image_status, readable)
            good = (image_status == Status.OK)[:, None] & (text_status == Status.OK)
            return tf.where(good, scores, np.nan), image_status, text_status

        with self._weights.scope():
            scores, image_status, caption_status = tf.map_fn(
                score,
                (regions, region_mask, captions),
                fn_output_signature=(tf.float32, tf.int32, tf.int32),
                parallel_iterations=1,
            )
        return {
            "scores": tf.ensure_shape(scores, [None, None, None]),
            "image_status": tf.ensure_shape(image_status, [None, None]),
            "caption_status": tf.ensure_shape(caption_status, [None, None]),
        }

    def _search(self, captions: tf.Tensor) -> Tensors:
        _assert_same_rows(captions)
        index = self._index
        with self._weights.scope():
            texts, status = self._read_captions(captions)
            vectors = self._heads.text_tensor(texts)

            def rerank(row: tuple[tf.Tensor, dict]) -> tf.Tensor:
                items, text = row
                regions = tf.cast(tf.gather(index.regions, items), tf.float32)
                images = self._encodings(regions, tf.gather(index.region_mask, items))
                text = {key: value[None] for key, value in text.items()}
                return self._model.score_all(images, text, index.num_candidates)[:, 0]

            products = tf.matmul(vectors, index.vectors, transpose_b=True)
            items = tf.math.top_k(products, index.num_candidates).indices
            scores = tf.map_fn(
                rerank, (items, texts), fn_output_signature=tf.float32, parallel_iterations=1
            )
        scores -= tf.gather(index.hubness, items)
        scores = tf.ensure_shape(scores, [None, index.num_candidates])
        best, order = tf.math.top_k(scores, index.top_k)
        ids = tf.gather(index.ids, tf.gather(items, order, batch_dims=1))
        return {
            "ids": tf.where((status == Status.OK)[:, None], ids, ""),
            "scores": _nan_where_bad(best, status),
            "status": status,
        }

    # === Reading rows: values that cannot be computed with are replaced and get a status ===

    def _read_captions(self, captions: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        captions = tf.ensure_shape(captions, [None])
        words = self._model.tokenizer.split(captions)
        valid = tf.equal(tf.strings.unicode_transcode(captions, "UTF-8", "UTF-8"), captions)
        # <start> and <end>, or [CLS] and [SEP], count as tokens.
        num_tokens = words.row_lengths() + 2
        status = _first_status(
            (~valid, Status.INVALID_UTF8),
            (num_tokens == 2, Status.EMPTY_CAPTION),
            (num_tokens > self._max_tokens, Status.TOO_MANY_WORDS),
        )
        token_ids = self._model.tokenizer.ids_of(words).to_tensor()
        return self._model.text_encoder({"token_ids": token_ids}, training=False), status

    def _counts(self, num_regions: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Number of real regions of every image."""
        counts = tf.ensure_shape(num_regions, [None])
        left_out = tf.equal(tf.size(counts), 1) & tf.reduce_all(counts == ALL_REGIONS)
        counts = tf.tile(counts, [tf.where(left_out, tf.shape(features)[0], 1)])
        return tf.where(counts == ALL_REGIONS, self._max_regions, counts)

    def _read_images(self, features: tf.Tensor, counts: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        # A session does not check its inputs against the declared shape; this op does.
        image = [self._max_regions, self._model.config.region_dim]
        features = tf.ensure_shape(features, [None, *image])
        mask = tf.sequence_mask(counts, self._max_regions)
        features, mask, status = _sanitized(features, mask)
        status = tf.where(counts > self._max_regions, int(Status.TOO_MANY_REGIONS), status)
        inputs = {"region_features": features, "region_mask": mask}
        return self._model.image_encoder(inputs, training=False), status

    def _read_local(self, regions: tf.Tensor, mask: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        regions, mask, status = _sanitized(regions, mask)
        return self._encodings(regions, mask), status

    def _encodings(self, regions: tf.Tensor, mask: tf.Tensor) -> Tensors:
        encodings = {"regions": regions, "region_mask": mask}
        if "image_global" in self._model.image_encoder.output:
            pooling = self._model.image_encoder.get_layer("image_pooling")
            encodings["image_global"] = pooling(regions, mask=mask)
        return encodings


def _function(function: Callable, *specs: tf.TensorSpec) -> Callable:
    return tf.function(function, specs, autograph=False)


def _assert_same_rows(*tensors: tf.Tensor) -> None:
    rows = [tf.shape(tensor)[0] for tensor in tensors]
    tf.debugging.assert_positive(rows[0], "a request needs at least one row")
    for count in rows[1:]:
        tf.debugging.assert_equal(count, rows[0], "all inputs need the same number of rows")


def _sanitized(regions: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Sets padding and bad images to zero; the whole mask of a bad image becomes True."""
    regions = tf.where(mask[..., None], regions, 0.0)
    status = _first_status(
        (~tf.reduce_all(tf.math.is_finite(regions), axis=[1, 2]), Status.NOT_FINITE),
        (~tf.reduce_any(mask, axis=1), Status.NO_REGIONS),
    )
    good = status == Status.OK
    return tf.where(good[:, None, None], regions, 0.0), mask | ~good[:, None], status


def _first_status(*cases: tuple[tf.Tensor, Status]) -> tf.Tensor:
    status = tf.zeros_like(cases[0][0], tf.int32)
    for condition, code in reversed(cases):
        status = tf.where(condition, int(code), status)
    return status


def _unless_finite(status: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, answers.shape.rank))
    finite = tf.reduce_all(tf.math.is_finite(answers), axis=axes)
    return tf.where((status == Status.OK) & ~finite, int(Status.NOT_FINITE), status)


def _nan_where_bad(answers: tf.Tensor, status: tf.Tensor) -> tf.Tensor:
    good = tf.reshape(status == Status.OK, [-1] + [1] * (answers.shape.rank - 1))
    return tf.where(good, answers, np.nan)
