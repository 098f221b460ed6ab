"""The models of the rows of the paper's Table 4, small, and what is asked of them."""

import dataclasses

import numpy as np

from hslm_tf.config import ModelConfig
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import preset
from tests.tiny_model import SIZES, WORDS, random_images, randomize_model

CAPTIONS = [
    "A dog runs on the grass .",
    "a cat",
    "The red ball sits on water with a big boy",
    "Zebra !",
    "the boy with the red hat and the big dog runs on the grass with a ball on the water",
]
# Every hinge adds to the score of a negative what it takes from the positive, bias and all.
WITHOUT_GRADIENT = {"similarity_fusion/score/bias"}


def ablation(row: int) -> ModelConfig:
    return dataclasses.replace(preset(f"ablation/{row}").model, **SIZES)


def built(config: ModelConfig, seed: int = 0, **kwargs) -> HSLM:
    model = HSLM(config, WORDS, **kwargs)
    randomize_model(model, seed)
    return model


def five_images() -> tuple[np.ndarray, np.ndarray]:
    return random_images(len(CAPTIONS), seed=3)


def arguments() -> tuple:
    """Arguments of `HSLM.score`."""
    regions, mask = five_images()
    return regions, CAPTIONS, mask


def matrix(model: HSLM) -> np.ndarray:
    return model.score(*arguments(), matrix=True).numpy()


def weights_of(model: HSLM) -> dict[str, np.ndarray]:
    return {weight.path: np.asarray(weight).copy() for weight in model.trainable_variables}
