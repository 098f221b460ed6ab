"""The score of one image and one caption, HSLM Eq. 15-22."""

from typing import NamedTuple

import numpy as np

from tests.oracles.attention_pooling import attention_pooling
from tests.oracles.cross_attention import cross_attention
from tests.oracles.numerics import Affine
from tests.oracles.similarity import similarity_fusion, similarity_representation


class MatcherWeights(NamedTuple):
    """Weights of a matcher; those of a branch that is switched off are None."""

    gate: Affine
    score: Affine
    gamma: float = 10.0
    local_projection: Affine | None = None
    global_projection: Affine | None = None
    text_query: Affine | None = None
    text_key: Affine | None = None
    image_query: Affine | None = None
    image_key: Affine | None = None


def match(
    words: np.ndarray,
    regions: np.ndarray,
    weights: MatcherWeights,
    *,
    use_cross_attention: bool = True,
    use_local: bool = True,
    use_global: bool = True,
    activation: str = "sigmoid",
    normalize_attended: bool = True,
    normalize_fusion: bool = True,
) -> float:
    """Score of the local features of one caption `[M, d]` and of one image `[N, d]`.

    Without cross-attention the image's global vector pools its regions.
    """
    image_vectors = np.float64(regions)
    if use_cross_attention:
        image_vectors, _ = cross_attention(
            words, regions, activation, weights.gamma, normalize_attended
        )
    similarities = []
    if use_local:
        for word, attended in zip(words, image_vectors, strict=True):
            similarities.append(similarity_representation(word, attended, weights.local_projection))
    if use_global:
        text_vector = attention_pooling(words, weights.text_query, weights.text_key)
        image_vector = attention_pooling(image_vectors, weights.image_query, weights.image_key)
        similarities.append(
            similarity_representation(text_vector, image_vector, weights.global_projection)
        )
    return similarity_fusion(np.stack(similarities), weights.gate, weights.score, normalize_fusion)


def score_matrix(
    captions: list[np.ndarray], images: list[np.ndarray], weights: MatcherWeights, **options
) -> np.ndarray:
    """Scores of every image with every caption, `[num_images, num_captions]`."""
    return np.array(
        [[match(words, regions, weights, **options) for words in captions] for regions in images]
    )
