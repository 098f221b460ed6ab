"""HSLM, a functional Keras model that trains on pairs, encodes, and scores."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models import trained_scores
from hslm_tf.models.block_scoring import BlockScoring, Encoding
from hslm_tf.models.inputs import check_captions, check_images
from hslm_tf.models.networks import (
    aligned_blocks,
    build_image_encoder,
    build_matcher,
    build_text_encoder,
)
from hslm_tf.models.text_backbone import TextBackbone
from hslm_tf.models.transformer_encoder import build_transformer_encoder, encoder_of_states
from hslm_tf.presets import preset
from hslm_tf.text.tokenizer import CaptionTokenizer
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.text.word_pieces import WordPieceTokenizer
from hslm_tf.training.batch import completed_batch, with_text_tensors
from hslm_tf.training.trainer import RetrievalTrainer


@keras.saving.register_keras_serializable(package="hslm_tf")
class HSLM(RetrievalTrainer):
    """Hierarchical semantic learning model for image-text retrieval (HSLM, Figure 2).

    A functional model of aligned pairs, made of `image_encoder`, `text_encoder` and `matcher`,
    which learns from the other pairs of the batch (`RetrievalTrainer`). It carries its vocabulary,
    so a saved model takes captions as strings.

    Args:
        config: sizes and parts.
        vocabulary: words in the order of their ids, `<pad>`, `<start>`, `<end>`, `<unk>` first;
            for a transformer what `hslm_tf.load_text_backbone` returned.
        dtype: precision policy; the global policy by default.
        name: name of the model.

    Inputs:
        Dict of `"region_features"` `[batch, regions, region_dim]`, boolean `"region_mask"`
        `[batch, regions]` and int32 `"token_ids"` `[batch, tokens]`. `fit` and its like
        also take `"captions"` as strings, and the mask may be left out.

    Outputs:
        Dict of `"score"` `[batch]`, the similarity of each image and its caption.

    Example:
        >>> vocabulary = hslm_tf.build_vocabulary(captions)
        >>> config = hslm_tf.ModelConfig(region_dim=256, joint_dim=64)
        >>> model = hslm_tf.HSLM(config, vocabulary.words)
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: Sequence[str] | TextBackbone,
        dtype: str | keras.DTypePolicy | None = None,
        name: str = "hslm",
    ) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        backbone = vocabulary if isinstance(vocabulary, TextBackbone) else None
        if config.pretrained_text != (backbone is not None):
            raise ValueError(
                "A transformer takes a backbone, a GRU a vocabulary of words. Received: "
                f"text_encoder={config.text_encoder}, vocabulary={type(vocabulary).__name__}"
            )

        # === Layers ===
        image_encoder = build_image_encoder(config, policy)
        if backbone is None:
            text_encoder = build_text_encoder(config, len(vocabulary), policy)
        else:
            text_encoder = build_transformer_encoder(config, backbone, policy)
        matcher = build_matcher(config, policy)

        # === Functional model ===
        image_inputs = {key: _like(tensor) for key, tensor in image_encoder.input.items()}
        text_inputs = {key: _like(tensor) for key, tensor in text_encoder.input.items()}
        pairs = aligned_blocks(image_encoder(image_inputs), text_encoder(text_inputs))
        scores = matcher({key: pairs.get(key) for key in matcher.input})["scores"]
        super().__init__(
            inputs={**image_inputs, **text_inputs}, outputs={"score": scores[:, 0, 0]}, name=name
        )

        # === Config ===
        self.config = config
        self.vocabulary = tuple(vocabulary) if backbone is None else backbone.pieces
        # Keras's `compile` reads here whether the loss must be scaled.
        self.dtype_policy = policy
        self.policy_name = policy.name
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.matcher = matcher
        if backbone is None:
            self.tokenizer = CaptionTokenizer(self.vocabulary, config.max_tokens)
            self._backbone_config = None
        else:
            self.tokenizer = WordPieceTokenizer(
                backbone.pieces, backbone.lowercase, config.max_tokens
            )
            self._backbone_config = backbone.get_config()

        # === Graphs for inference, traced once for all sizes ===
        # Another graph could round in another way, and so order equal scores in another way.
        self._scoring = BlockScoring(matcher, config)
        image_specs, text_specs = _specs(image_encoder.output), _specs(text_encoder.output)
        prepared_specs = dict(image_specs)
        if "region_products" in matcher.input:
            products = matcher.input["region_products"]
            prepared_specs["region_products"] = tf.TensorSpec(products.shape[1:], products.dtype)
        self._matrix, self._prepared_matrix = (
            tf.function(
                self._scoring.matrix,
                input_signature=[specs, text_specs, tf.TensorSpec([], tf.int32)],
                autograph=False,
            )
            for specs in (image_specs, prepared_specs)
        )
        self._lists = tf.function(self._scoring.lists, reduce_retracing=True, autograph=False)
        self._encode_images = tf.function(
            lambda inputs: self._scoring.prepared(image_encoder(inputs)),
            input_signature=[_specs(image_encoder.input)],
            autograph=False,
        )
        self._token_ids = tf.function(
            lambda captions: self.tokenizer(captions).to_tensor(),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )
        self._encode_tokens = tf.function(
            lambda inputs: text_encoder(inputs),
            input_signature=[_specs(text_encoder.input)],
            autograph=False,
        )

    def __call__(self, inputs: Mapping[str, tf.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Scores aligned pairs, see `completed_batch` for what they may leave out."""
        if isinstance(inputs, Mapping):
            inputs = with_text_tensors(inputs)
        inputs = completed_batch(inputs, self.tokenizer)
        inputs = {key: keras.ops.convert_to_tensor(inputs[key]) for key in self.input}
        return super().__call__(inputs, *args, **kwargs)

    @classmethod
    def from_preset(
        cls,
        name: str,
        vocabulary: Sequence[str] | Vocabulary | TextBackbone,
        dtype: str | keras.DTypePolicy | None = None,
        **changes: Any,
    ) -> "HSLM":
        """Builds an untrained model of a named configuration.

        Args:
            name: a preset, such as `"flickr30k"`, see `hslm_tf.preset`.
            vocabulary: the words, such as `hslm_tf.build_vocabulary(captions)`, or for a
                transformer its backbone, such as `hslm_tf.load_text_backbone("minilm")`.
            dtype: precision policy; the global policy by default.
            **changes: fields of `ModelConfig` to change.

        Returns:
            The model.

        Raises:
            ValueError: if there is no such preset, or values are impossible.

        Example:
            >>> vocabulary = hslm_tf.build_vocabulary(captions)
            >>> model = hslm_tf.HSLM.from_preset("flickr30k", vocabulary, joint_dim=512)
        """
        words = vocabulary.words if isinstance(vocabulary, Vocabulary) else vocabulary
        return cls(dataclasses.replace(preset(name).model, **changes), words, dtype)

    def encoder_of_states(self) -> keras.Model:
        """The text encoder for captions whose states of the frozen layers are known."""
        return encoder_of_states(self.text_encoder)

    def score_pairs(self, images: Encoding, texts: Encoding) -> tf.Tensor:
        """Scores image i against caption i.

        Args:
            images: what `encode_image` or `image_encoder` returned for n images.
            texts: what `encode_text` or `text_encoder` returned for n captions.

        Returns:
            Float32 `[n]`.
        """
        return self._scoring.pairs(images, texts)

    def score_rows(
        self, images: Encoding, texts: Encoding, image_rows: tf.Tensor, text_rows: tf.Tensor
    ) -> tf.Tensor:
        """Scores chosen pairs with gradient, for training."""
        return trained_scores.chosen_scores(self._scoring, images, texts, image_rows, text_rows)

    def score_all(self, images: Encoding, texts: Encoding, image_block_size: int = 2) -> tf.Tensor:
        """Scores all images against all captions: `score_encoded` for use within a graph.

        Args:
            images: what `image_encoder` returned for n images.
            texts: what `text_encoder` returned for m captions.
            image_block_size: images of a block; memory is proportional to it.

        Returns:
            Float32 `[n, m]`.
        """
        images = self._scoring.prepared(images, texts["word_mask"].shape[0])
        return self._scoring.matrix(images, texts, image_block_size)

    def score_matrix(self, images: Encoding, texts: Encoding, on: str = "score") -> tf.Tensor:
        """Scores all pairs with gradient, see `ScoredBatch.all_scores`."""
        return trained_scores.all_scores(self._scoring, images, texts, on)

    def encode_image(
        self,
        region_features: np.ndarray | tf.Tensor,
        region_mask: np.ndarray | tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Encodes images.

        Args:
            region_features: `[n, regions, region_dim]`.
            region_mask: boolean `[n, regions]`, True for real regions; None where all are real.

        Returns:
            Dict of `"regions"` `[n, regions, joint_dim]`, `"region_mask"`, `"image_global"`
            `[n, joint_dim]` where it pools the image's regions, and `"region_products"`
            where the matcher takes them. These can be left out: they are computed again.

        Raises:
            ValueError: as for `check_images`.
        """
        expected = self.image_encoder.input["region_features"]
        return self._encode_images(check_images(region_features, region_mask, expected))

    def encode_text(self, captions: Sequence[str]) -> dict[str, tf.Tensor]:
        """Encodes captions.

        Args:
            captions: n captions as they are written; longer ones than `max_tokens` are truncated.

        Returns:
            Dict of `"words"` `[n, tokens, joint_dim]`, `"word_mask"`, and with global alignment
            `"text_global"` `[n, joint_dim]`.

        Raises:
            ValueError: as for `check_captions`.
        """
        return self.encode_tokens(self._token_ids(check_captions(captions)))

    def encode_tokens(self, token_ids: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """Encodes captions that are token ids already.

        Args:
            token_ids: int32 `[n, tokens]`, 0 for padding on the right.

        Returns:
            As `encode_text`.
        """
        return self._encode_tokens({"token_ids": tf.convert_to_tensor(token_ids, tf.int32)})

    def score_encoded(
        self, images: Encoding, texts: Encoding, image_block_size: int = 8
    ) -> tf.Tensor:
        """Scores encoded images against encoded captions.

        Args:
            images: what `encode_image` returned for n images.
            texts: what `encode_text` returned for m captions.
            image_block_size: images of a block; memory is proportional to it.

        Returns:
            Float32 `[n, m]`.

        Raises:
            ValueError: if `images` or `texts` are not what the encoders returned.

        Example:
            >>> images, texts = model.encode_image(region_features), model.encode_text(captions)
            >>> print(model.score_encoded(images, texts).shape)
        """
        for name, encoding, key in (("images", images, "regions"), ("texts", texts, "words")):
            if key not in encoding:
                raise ValueError(
                    f"`{name}` must be encoded: no {key!r} in it. "
                    f"Received: {name} with {', '.join(sorted(encoding))}"
                )
        images = self._scoring.prepared(images, len(texts["word_mask"]))
        graph = self._prepared_matrix if "region_products" in images else self._matrix
        return graph(dict(images), dict(texts), tf.constant(image_block_size))

    def score_lists(
        self,
        images: Encoding,
        captions: Encoding,
        list_images: np.ndarray,
        list_captions: np.ndarray,
        splits: np.ndarray,
    ) -> tf.Tensor:
        """Scores list i: image `list_images[i]`, captions from `splits[i]` to `splits[i + 1]`."""
        lists = (tf.constant(x, tf.int32) for x in (list_images, list_captions, splits))
        return self._lists(dict(self._scoring.prepared(images)), dict(captions), *lists)

    def score(
        self,
        region_features: np.ndarray | tf.Tensor,
        captions: Sequence[str],
        region_mask: np.ndarray | tf.Tensor | None = None,
        matrix: bool = False,
    ) -> tf.Tensor:
        """Scores images against captions.

        Args:
            region_features: `[n, regions, region_dim]`.
            captions: captions as strings; n of them unless `matrix`.
            region_mask: boolean `[n, regions]`, True for real regions; None where all are real.
            matrix: scores every image against every caption instead of aligned pairs.

        Returns:
            Float32 `[n]`, or `[n, len(captions)]` with `matrix`.

        Raises:
            ValueError: if aligned images and captions differ in number, or as for `check_images`
                and `check_captions`.

        Example:
            >>> print(model.score(region_features, ["a dog runs"]))
        """
        captions = check_captions(captions)
        if not matrix and len(captions) != len(region_features):
            raise ValueError(
                "Aligned scoring needs one caption an image (or `matrix=True`). Received: "
                f"len(region_features)={len(region_features)}, len(captions)={len(captions)}"
            )
        images, texts = self.encode_image(region_features, region_mask), self.encode_text(captions)
        return self.score_encoded(images, texts) if matrix else self.score_pairs(images, texts)

    def get_config(self) -> dict:
        return {
            "config": dataclasses.asdict(self.config),
            "vocabulary": list(self.vocabulary),
            "text_backbone": self._backbone_config,
            "dtype": self.policy_name,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "HSLM":
        config = {**config, "config": ModelConfig(**config["config"])}
        if backbone := config.pop("text_backbone", None):
            config["vocabulary"] = TextBackbone(tuple(config["vocabulary"]), **backbone)
        return cls(**config)


def _like(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _specs(tensors: Mapping[str, keras.KerasTensor]) -> dict[str, tf.TensorSpec]:
    return {key: tf.TensorSpec(tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
