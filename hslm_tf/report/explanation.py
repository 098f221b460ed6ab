"""What the matcher looks at: weights of words, and which regions they attend to."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.text.tokenization import tokenize

# Said instead of drawing the regions that words attend to.
UNTRAINED = (
    "This model was trained on global vectors alone: its words were never taught where to look, so "
    "no regions are shown."
)


class Explanation(NamedTuple):
    """How one image and one caption were compared."""

    words: list[str]
    word_weights: np.ndarray
    attention: np.ndarray


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
        """Explains a pair."""
        words = tokenize(tf.constant([caption]))[0].numpy()
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
        # The model truncates long captions: the words at their end were not compared.
        kept = [word.decode("utf-8", "replace") for word in words[: count - 2]]
        return Explanation(["<start>", *kept, "<end>"], gates, attention)


def words_look(model: HSLM) -> bool:
    """Whether words were taught to attend to regions."""
    if not model.config.cross_attention:
        return False
    layer = model.matcher.get_layer("cross_attention")
    # A moving average of a constant differs from it by rounding.
    return not hasattr(layer, "gamma") or abs(float(layer.gamma) / layer.scale - 1) > 1e-5


def explainer_of(model: HSLM) -> Explainer | None:
    """Makes an explainer of a model whose words were taught to attend to regions."""
    return Explainer(model) if words_look(model) else None
