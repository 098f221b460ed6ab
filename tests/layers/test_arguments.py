"""Wrong arguments of a layer are one clear error."""

import numpy as np
import pytest

from hslm_tf import layers


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "float32")


@pytest.mark.parametrize(
    "layer, arguments, message",
    [
        (layers.BidirectionalGRU, (5, "cudnn"), "Received: implementation=cudnn$"),
        (layers.CrossAttention, ("tanh",), "`activation`.*Received: activation=tanh$"),
        (layers.GraphConv, ("cosine",), "`affinity`.*Received: affinity=cosine$"),
        (layers.MGCN, (0,), "`num_layers`.*Received: num_layers=0$"),
        (layers.MGCN, (1, "cosine"), "`affinity`.*Received: affinity=cosine$"),
        (layers.RegionDropping, (1,), "`rate`.*Received: rate=1$"),
        (layers.SimilarityFusion, (True, False, "far"), "`start`.*Received: start=far$"),
        (layers.SimilarityRepresentation, (0,), "`units`.*Received: units=0$"),
        (layers.SimilarityRepresentation, (2, "far"), "`start`.*Received: start=far$"),
        (layers.WordDropping, (-1,), "`rate`.*Received: rate=-1$"),
    ],
)
def test_arguments(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer(*arguments)


def test_widths_that_differ():
    with pytest.raises(ValueError, match="same width.*Received: words_shape=.*regions_shape="):
        layers.CrossAttention()(ones(1, 2, 3), ones(1, 1, 2, 4))
    with pytest.raises(ValueError, match="same width.*Received: text_shape=.*image_shape="):
        layers.SimilarityRepresentation()(ones(2, 3), ones(2, 4))
