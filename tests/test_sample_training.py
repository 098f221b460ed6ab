"""What the sample preset must reach on the built-in sample, and what must not learn anything."""

import dataclasses

import keras
import numpy as np
import pytest

from hslm_tf.config import RunConfig
from hslm_tf.data import load_sample
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.presets import ABLATION_PARTS, preset
from hslm_tf.runs.evaluation import evaluate_runs
from hslm_tf.runs.experiment import train
from hslm_tf.runs.recipe import new_model
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import Splits


def trained_rsum(path, config: RunConfig, train_data: RetrievalDataset) -> float:
    run = RunDirectory(path)
    train(config, run, Splits(train_data, load_sample("dev")))
    return evaluate_runs({"run": [run]}, load_sample("test"))["run"].rsum


def preset_with(**training) -> RunConfig:
    config = preset("sample")
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sample_preset_learns(tmp_path, seed):
    assert trained_rsum(tmp_path, preset_with(seed=seed), load_sample("train")) >= 380


@pytest.mark.parametrize("shuffled", [False, True])
def test_only_the_right_captions_teach(tmp_path, shuffled):
    """Shuffled, every training image gets another's: nothing may leak into the test split."""
    data = load_sample("train")
    if shuffled:
        captions = np.array(data.captions, dtype=object).reshape(data.num_images, -1)
        others = np.random.default_rng(0).permutation(data.num_images)
        data = dataclasses.replace(data, captions=captions[others].ravel().tolist())
    config = preset_with(epochs=2, contrastive_epochs=2, warmup_steps=10, validate_every=2)
    # Row 1 of Table 4, which learns within these two epochs.
    model = dataclasses.replace(config.model, **ABLATION_PARTS[1])
    rsum = trained_rsum(tmp_path, dataclasses.replace(config, model=model), data)
    assert rsum < 60 if shuffled else rsum > 150


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_untrained_model_is_at_chance(seed):
    keras.utils.set_random_seed(seed)
    captions = load_sample("train").captions
    model = new_model(preset_with(seed=seed), captions)
    # Random scores of 100 images and 500 captions have an rsum of 31.5.
    assert evaluate(model, load_sample("test")).rsum < 1.5 * 31.5
