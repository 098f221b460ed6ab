"""The loss that docs/design.md shows runs, and is the one that it claims to be."""

import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from tests.layer_test import assert_close
from tests.tiny_model import SIZES, WORDS, losses_at, random_batch, randomize_model
from tests.training.helpers import encoded

DESIGN = Path(__file__).parents[2] / "docs/design.md"


def sigmoid_loss() -> type:
    """The class that docs/design.md shows."""
    [code] = re.findall(r"```python\n(.*?class SigmoidLoss.*?)```", DESIGN.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 20
    names: dict = {}
    exec(code, names)
    return names["SigmoidLoss"]


def test_the_loss_of_the_docs_is_siglip_and_learns():
    model = HSLM(ModelConfig(**SIZES, word_dropout=0.0, mgcn=False, self_attention=False), WORDS)
    randomize_model(model)
    batch = random_batch([0, 1, 2, 3, 0, 4])
    model.compile(keras.optimizers.Adam(1e-2), sigmoid_loss()())
    losses = losses_at(model, batch, 0)
    scores = model.score_all(*encoded(model, batch)).numpy()
    signs = 2 * np.eye(6) - 1
    each = np.log1p(np.exp(-signs * (10 * scores - 10)))
    # Pairs 0 and 4 show the same image: neither is the other's negative.
    each[0, 4] = each[4, 0] = 0
    assert_close(losses.loss, each.sum() / 6, 1e-5)
    data = tf.data.Dataset.from_tensors(batch).repeat(8)
    history = model.fit(data, epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][1] < 0.8 * history["loss"][0]
