import pytest

from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS
from tests.models.ablated_models import ablation, built

# Quick are global vectors alone, words and regions alone, both, and everything.
QUICK_ROWS = (1, 5, 9, 12)


@pytest.fixture(
    scope="module",
    params=[
        row if row in QUICK_ROWS else pytest.param(row, marks=pytest.mark.slow)
        for row in ABLATION_PARTS
    ],
)
def row(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def ablated(row) -> HSLM:
    """The model of one row of the paper's Table 4."""
    return built(ablation(row))


@pytest.fixture(scope="module")
def whole() -> HSLM:
    """The model with every part: the last row."""
    return built(ablation(12))
