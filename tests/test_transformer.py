"""A model with a pretrained text encoder, from training to the server: command by command."""

import importlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import hslm_tf
from hslm_tf import index, search, train
from hslm_tf.runs import token_states
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import open_split
from hslm_tf.serving.graph_ops import WORD_PIECES, unknown_ops
from hslm_tf.serving.savedmodel import export_model
from tests.serving.test_savedmodel import ALONE
from tests.tiny_bert import write_bert
from tests.tiny_run import assert_same_training, fails, rows_of

evaluate = importlib.import_module("hslm_tf.evaluate")

PARTS = "--cross-attention --local-alignment --image-global regions".split()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("hub") / "bert")


@pytest.fixture(scope="module")
def flags(run_flags, bert):
    backbone = ["--text-encoder", "transformer", "--text-backbone", str(bert)]
    return [*run_flags, *PARTS, *backbone, "--freeze-layers", "2", "--ema", "0.9", "--epochs", "2"]


@pytest.fixture(scope="module")
def run(flags, tmp_path_factory, module_cache):
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "transformer")
    train.main([*flags, "--out", str(run.path)])
    return run


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HSLM_TF_CACHE", str(folder))
        yield folder


def test_a_run_keeps_the_states_of_its_frozen_layers(run, module_cache):
    [file] = module_cache.glob("states-*.npy")
    dataset = open_split(run, "train")
    model = hslm_tf.load_model(run.path)
    tokens = model.tokenizer.tokenize_all(dataset.captions)
    known = token_states.token_states(model, tokens)
    rows = np.array([7, 0, 59])
    frozen = token_states.states_of_tokens(model.text_encoder)
    computed = frozen({"token_ids": tokens.padded(rows)}, training=False).numpy()
    for row, found, expected in zip(rows, known.padded(rows), computed, strict=True):
        count = 2 + np.diff(tokens.offsets)[row]
        np.testing.assert_allclose(found[:count], expected[:count], atol=2e-3)
    assert not run.vocabulary_file.exists()
    # A damaged file is written anew.
    expected = known.padded(rows)
    file.write_bytes(file.read_bytes()[:-9])
    again = token_states.token_states(model, tokens)
    np.testing.assert_array_equal(again.padded(rows), expected)
    # Other captions have other states.
    token_states.token_states(model, model.tokenizer.tokenize_all(dataset.captions[:5]))
    assert len(list(module_cache.glob("states-*.npy"))) == 2


@pytest.mark.slow
def test_training_goes_on_where_it_was_killed(run, flags, tmp_path, module_cache):
    killed = RunDirectory(tmp_path / "killed")
    train.main([*flags, "--out", str(killed.path), "--epochs", "1"])
    shutil.rmtree(module_cache)
    train.main(["--resume", str(killed.path), "--epochs", "2"])
    assert_same_training(killed, run)


def test_the_folder_is_needed_by_the_training_alone(run, bert, tmp_path, capsys):
    moved = shutil.move(bert, tmp_path / "elsewhere")
    try:
        evaluate.main([str(run.path), "--split", "dev"])
    finally:
        shutil.move(moved, bert)
    assert "rsum" in capsys.readouterr().out


def test_search_and_its_gallery(run, tmp_path, capsys):
    index.main(["collection", str(run.path), "--out", str(tmp_path / "photos.h5")])
    page = tmp_path / "found.html"
    capsys.readouterr()
    search.main([str(tmp_path / "photos.h5"), "a photo of thing12 near", "--html", str(page)])
    assert len(capsys.readouterr().out.splitlines()) >= 10
    shown = page.read_text("utf-8")
    assert "thing12" in shown and "##" not in shown


# tensorflow_text brings Keras.
WITH_TEXT = ALONE.replace('("hslm_tf", "keras", "tensorflow_text")', '["hslm_tf"]').replace(
    "import tensorflow as tf", "import tensorflow as tf, tensorflow_text"
)


@pytest.mark.parametrize(
    "precision, tolerance",
    [("float32", 1e-5), pytest.param("int8", 0.1, marks=pytest.mark.slow)],
)
def test_exported_model_takes_strings(run, tmp_path, precision, tolerance):
    model = hslm_tf.load_model(run.path)
    version = export_model(model, tmp_path / "served", precision=precision)
    assert set(unknown_ops(version)) == WORD_PIECES
    captions = ["a photo of thing12", "", "thing3 over there", "dog " * 70]
    dataset = open_split(run, "dev")
    regions, mask = dataset.read_images(np.arange(4))
    request = {
        "region_features": regions,
        "captions": np.array(captions),
        "num_regions": mask.sum(axis=1).astype(np.int32),
    }
    np.savez(tmp_path / "request.npz", **request)
    done = subprocess.run(
        [sys.executable, "-c", WITH_TEXT, version, tmp_path / "request.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"][0] == answer["status"][2] == 0
    assert answer["status"][1] and answer["status"][3]
    expected = model.score(regions, captions, mask).numpy()
    np.testing.assert_allclose(np.array(answer["score"])[[0, 2]], expected[[0, 2]], atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(flags, precision, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train.main([*flags, "--out", str(run.path), "--precision", precision, "--epochs", "1"])
    assert np.isfinite(rows_of(run)[0]["loss"])


def test_what_belongs_together(run_flags, bert, capsys):
    alone = [*run_flags, "--text-backbone", str(bert)]
    assert "give text_encoder and text_backbone together" in fails(alone, capsys)
    alone = [*run_flags, "--text-encoder", "transformer"]
    assert "give text_encoder and text_backbone together" in fails(alone, capsys)
