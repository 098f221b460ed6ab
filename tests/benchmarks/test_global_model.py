import dataclasses

import pytest

from benchmarks.global_model import Settings, baseline
from hslm_tf.data import load_sample

FAST = Settings(width=32, word_width=32, similarity_width=8, epochs=2, learning_rate=5e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"text": "gru", "pooling": "attention", "score": "similarity", "unit_rows": True}],
    ids=["bag of words", "row 1 of Table 4"],
)
def test_learns_in_two_epochs(changes):
    """Chance is 31.5 on 100 images and 500 captions."""
    settings = dataclasses.replace(FAST, **changes)
    report = baseline(load_sample("train"), load_sample("test"), settings, verbose=0)
    assert report.rsum > 100
