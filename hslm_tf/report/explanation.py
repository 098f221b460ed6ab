"""Weights of words and their attention to regions, for the hits of a search."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.images.extractor import RegionFeatures
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.reranking import Hit
from hslm_tf.text.word_pieces import joined_pieces

if TYPE_CHECKING:
    from markupsafe import Markup

_UNTRAINED = (
    "This model was trained on global vectors alone: its words were never taught where to look, so "
    "no regions are shown."
)


class Explanation(NamedTuple):
    """Why an image and a caption have their score."""

    words: list[str]  # pieces of a word are joined
    word_weights: np.ndarray  # [words]: the gate of each word (Eq. 21), or 1
    attention: np.ndarray  # [words, N]: shares of the word's largest weight, 0 for padding


class Explainer:
    """Reads the weights inside the matcher, from the layers that make the score."""

    def __init__(self, model: HSLM) -> None:
        if not model.config.cross_attention:
            raise ValueError(
                "Without cross-attention a score has no weights of words and regions. "
                f"Received: model={model.name!r}"
            )
        matcher = model.matcher
        outputs = {"attention": matcher.get_layer("cross_attention").output[1]}
        if model.config.local_alignment:
            local = matcher.get_layer("local_similarity").output
            outputs["gates"] = matcher.get_layer("similarity_fusion").gate(local)
        names = ("words", "segment_ids", "regions", "region_mask")
        inputs = {name: matcher.input[name] for name in names}
        self._model = model
        self._weights = keras.Model(inputs, outputs)

    def explain(self, image: Mapping[str, tf.Tensor], caption: str) -> Explanation:
        """Explains the score of one encoded image and a caption."""
        texts = self._model.encode_text([caption])
        count = int(np.sum(texts["word_mask"]))
        weights = self._weights(
            {
                "words": texts["words"][:, :count],
                "segment_ids": tf.zeros([1, count], tf.int32),
                "regions": image["regions"][None],
                "region_mask": image["region_mask"][None],
            }
        )
        attention = np.asarray(weights["attention"], np.float32)[0, 0]
        attention = attention / np.maximum(attention.max(axis=1, keepdims=True), 1e-12)
        gates = np.ones(count, np.float32)
        if "gates" in weights:
            gates = np.asarray(weights["gates"], np.float32)[0, 0, :, 0]
        tokens = tokens_of(self._model, caption)
        if not self._model.config.pretrained_text:
            # Nobody wrote `<start>` and `<end>`.
            tokens, gates, attention = tokens[1:-1], gates[1:-1], attention[1:-1]
        words, numbers = joined_pieces(tokens)
        means = np.eye(len(words), dtype=np.float32)[numbers]
        means /= np.maximum(means.sum(axis=0), 1)
        return Explanation(words, means.T @ gates, means.T @ attention)


def tokens_of(model: HSLM, caption: str) -> list[str]:
    """The tokens of a caption as text, one for each of its ids; long captions are truncated."""
    tokens = [token for token, _ in model.tokenizer.read(caption)][: model.config.max_tokens - 2]
    return tokens if model.config.pretrained_text else ["<start>", *tokens, "<end>"]


def explainer_of(model: HSLM) -> Explainer | None:
    """Makes an explainer if the cross-attention of the model was trained."""
    return Explainer(model) if attention_is_trained(model) else None


def attention_is_trained(model: HSLM) -> bool:
    """Whether words were taught to attend to regions; yes if attention has no scale."""
    if not model.config.cross_attention:
        return False
    layer = model.matcher.get_layer("cross_attention")
    # The scale moves with its first gradient, and a loss on global vectors gives it none. A moving
    # average of a constant differs from it by rounding.
    return not hasattr(layer, "gamma") or abs(float(layer.gamma) / layer.scale - 1) > 1e-5


def untrained_note(model: HSLM) -> str:
    """Says why no regions are drawn, if cross-attention was not trained."""
    untrained = model.config.cross_attention and not attention_is_trained(model)
    return _UNTRAINED if untrained else ""


class ExplainedHit(NamedTuple):
    """A hit as a gallery shows it: an image and a caption that were compared."""

    image_id: str
    caption: str
    score: float
    explanation: Explanation | None = None
    boxes: np.ndarray | None = None  # [N, 4], shares of the image or pixels
    right: bool | None = None  # None if nobody knows
    caption_of: str | None = None  # the image that the caption belongs to, if it is another one
    beside: "Markup | str" = ""  # HTML beside the image's id, such as links
    file: Path | None = None  # the photograph, if it is not in the image folder


class HitExplainer:
    """Explains the hits of a search in a collection."""

    def __init__(self, collection: Collection) -> None:
        self._model, self._encoded = collection.model, collection.encoded
        self._explainer = explainer_of(collection.model)

    def images(self, caption: str, hits: Sequence[Hit]) -> list[ExplainedHit]:
        """Explains images that were found for a caption of the collection, or any sentence."""
        captions, image_of = self._encoded.captions, self._encoded.caption_to_image
        right = {int(image_of[row]) for row, text in enumerate(captions) if text == caption}
        return [
            self._explained(hit.row, caption, hit.score, hit.row in right if right else None)
            for hit in hits
        ]

    def captions(self, image_id: str, hits: Sequence[Hit]) -> list[ExplainedHit]:
        """Explains captions that were found for an image of the collection."""
        image = int(self._encoded.rows_of([image_id])[0])
        explained = []
        for hit in hits:
            other = int(self._encoded.caption_to_image[hit.row])
            shown = self._explained(image, hit.item, hit.score, other == image)
            caption_of = None if other == image else self._encoded.ids[other]
            explained.append(shown._replace(caption_of=caption_of))
        return explained

    def captions_of_photograph(
        self, file: Path, features: RegionFeatures, hits: Sequence[Hit]
    ) -> list[ExplainedHit]:
        """Explains captions that were found for a photograph that is not in the collection."""
        image = self._model.encode_image(features.region_features, features.mask)
        image_of = self._encoded.caption_to_image
        return [
            ExplainedHit(
                file.name,
                hit.item,
                hit.score,
                self._explainer and self._explainer.explain(image, hit.item),
                features.boxes[0],
                caption_of=self._encoded.ids[image_of[hit.row]],
                file=file,
            )
            for hit in hits
        ]

    def _explained(
        self, image: int, caption: str, score: float, right: bool | None
    ) -> ExplainedHit:
        row = np.array([image])
        encoded: Mapping[str, Any] = self._encoded.images.read(row)
        explanation = self._explainer and self._explainer.explain(encoded, caption)
        boxes = None if self._encoded.boxes is None else self._encoded.boxes[row][0]
        return ExplainedHit(self._encoded.ids[image], caption, score, explanation, boxes, right)
