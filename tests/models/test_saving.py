import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.models.hslm import HSLM
from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum
from tests.layer_test import assert_close
from tests.models.ablated_models import CAPTIONS, ablation, built, five_images, matrix
from tests.tiny_model import WORDS

ROOT = Path(__file__).resolve().parents[2]


def test_file_round_trip(row, tmp_path):
    ablated = built(ablation(row))
    loss = HardestNegativeTripletLoss(0.3, NegativeCurriculum(5, 7), seed=row)
    optimizer = keras.optimizers.Adam(2e-3, global_clipnorm=1.5)
    ablated.compile(optimizer, loss)
    optimizer.build(ablated.trainable_variables)
    rng = np.random.default_rng(row)
    optimizer.apply([tf.constant(rng.normal(size=v.shape)) for v in ablated.trainable_variables])
    ablated.save(tmp_path / "hslm.keras")
    loaded = keras.models.load_model(tmp_path / "hslm.keras")
    assert type(loaded) is HSLM
    assert loaded.config == ablated.config and loaded.vocabulary == WORDS
    np.testing.assert_array_equal(matrix(loaded), matrix(ablated))
    assert loaded.retrieval_loss.get_config() == loss.get_config()
    assert loaded.optimizer.get_config() == optimizer.get_config()
    assert loaded.optimizer.iterations == 1
    pairs = zip(loaded.optimizer.variables, optimizer.variables, strict=True)
    for restored, saved in pairs:
        np.testing.assert_array_equal(np.asarray(restored), np.asarray(saved))
    # Adam's moments of every weight were restored.
    assert len(optimizer.variables) == 2 + 2 * len(ablated.trainable_variables)


def test_file_loads_in_a_fresh_process(whole, tmp_path):
    whole.save(tmp_path / "hslm.keras")
    np.savez(tmp_path / "images.npz", *five_images())
    script = f"""
import keras, numpy as np
import hslm_tf.models.hslm
model = keras.models.load_model("hslm.keras")
regions, mask = np.load("images.npz").values()
np.save("scores.npy", model.score(regions, {CAPTIONS!r}, mask, matrix=True))
"""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_close(np.load(tmp_path / "scores.npy"), matrix(whole), 1e-6)


def test_model_that_was_never_compiled(tmp_path):
    model = built(ablation(1))
    assert model.metrics == []
    model.save(tmp_path / "hslm.keras")
    loaded = keras.models.load_model(tmp_path / "hslm.keras")
    assert not loaded.compiled
    np.testing.assert_array_equal(matrix(loaded), matrix(model))


def test_clone_of_a_compiled_model_scores_alike(whole):
    whole.compile(keras.optimizers.Adam(), HardestNegativeTripletLoss())
    clone = keras.models.clone_model(whole)
    clone.set_weights(whole.get_weights())
    features, mask = five_images()
    token_ids = whole.tokenizer(CAPTIONS[:5]).to_tensor().numpy()
    inputs = {"region_features": features, "region_mask": mask, "token_ids": token_ids}
    assert_close(clone(inputs)["score"], whole(inputs)["score"])


def test_a_compiled_model_of_an_earlier_version(whole):
    """Where the configuration said whether the optimizer is built."""
    whole.compile(keras.optimizers.Adam(), HardestNegativeTripletLoss())
    config = whole.get_compile_config()
    assert not config["optimizer"].pop("built")
    for is_built in (False, True):
        whole.compile_from_config({**config, "optimizer_built": is_built})
        assert whole.optimizer.built == is_built
