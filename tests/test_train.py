import dataclasses
import gc
import importlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from hslm_tf import fingerprint, train
from hslm_tf.data.pipeline import training_batches
from hslm_tf.evaluation.exact_recall import evaluate as evaluate_model
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import PRESETS
from hslm_tf.runs import splits
from hslm_tf.runs.checkpoints import RunCheckpoint
from hslm_tf.runs.recipe import new_model
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from hslm_tf.runs.tensorboard_log import hparams_of, tag_of
from hslm_tf.text.split_captions import split_captions
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.training.callbacks import CollapseWarning
from tests.events import hparams_of_session, tensors_of
from tests.tiny_run import STEPS, WHOLE, fails, rows_of

# --- what a run leaves ---


def test_a_run_leaves_everything(finished_run, run_flags):
    run = finished_run
    assert {path.name for path in run.path.iterdir()} == {
        *(
            "config.json",
            "vocabulary.json",
            "best.keras",
            "results.json",
            "last.keras",
            "progress.json",
        ),
        *("previous.keras", "log.csv", "tensorboard", "provenance.json"),
    }
    assert run.config() == train.parse([*run_flags, "--epochs", "4"]).config
    assert run.progress["epochs"] == 4
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert rows[0]["candidate_fraction"] == 0
    assert (
        0
        < rows[1]["candidate_fraction"]
        < rows[2]["candidate_fraction"]
        < rows[3]["candidate_fraction"]
    )
    assert rows[3]["candidate_fraction"] == 1
    rates = [row["learning_rate"] for row in rows]
    # After an epoch's last step: three epochs are over, and the rate has dropped.
    np.testing.assert_allclose(rates, [1e-3] * 2 + [1e-4] * 2, rtol=1e-5)
    warning = CollapseWarning(run.config().training.margin)
    assert not any(warning.collapsed(row) for row in rows)


def test_best_and_last_models_are_what_they_say(finished_run):
    run = finished_run
    config, rows = run.config(), rows_of(run)
    rsums = [row["val_rsum"] for row in rows]
    assert run.progress["best_rsum"] == max(rsums)
    assert run.progress["best_epoch"] == rsums.index(max(rsums)) + 1
    dev = splits.load_split(config, "dev")
    best = keras.saving.load_model(run.best_model)
    last = keras.saving.load_model(run.last_model)
    assert evaluate_model(best, dev).rsum == pytest.approx(max(rsums))
    assert evaluate_model(last, dev).rsum == pytest.approx(rsums[-1])
    assert last.optimizer.iterations.numpy() == 4 * STEPS
    assert type(best.retrieval_loss) is type(last.retrieval_loss)
    assert best.optimizer.get_config() == last.optimizer.get_config()
    # Without the state that makes last.keras three times as large as the weights.
    assert last.optimizer.built and not best.optimizer.built
    tokens = best.tokenizer.tokenize_all(dev.captions)
    batches = training_batches(dev, tokens, batch_size=8)
    assert best.evaluate(batches, steps=2, verbose=0, return_dict=True)["loss"] > 0
    assert np.isfinite(best.fit(batches, verbose=0).history["loss"]).all()
    assert best.vocabulary == Vocabulary.load(run.vocabulary_file).words


def test_checkpoint_keeps_the_best_epoch(tmp_path):
    run = RunDirectory(tmp_path)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    callback = RunCheckpoint(run)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, rsum in enumerate([10.0, 30.0, 20.0, 30.0]):
        model.set_weights([np.full((1, 1), float(epoch))])
        callback.on_epoch_end(epoch, {"val_rsum": rsum})
    assert run.progress == {
        "epochs": 4,
        "steps": 0,
        "measured_epoch": 4,
        "best_epoch": 2,
        "best_rsum": 30.0,
    }
    assert keras.saving.load_model(run.best_model).get_weights()[0] == 1.0
    assert keras.saving.load_model(run.last_model).get_weights()[0] == 3.0
    assert keras.saving.load_model(run.previous_model).get_weights()[0] == 2.0
    assert not list(tmp_path.glob("draft-*"))


def test_tensorboard_shows_every_number(finished_run):
    rows = rows_of(finished_run)
    seen = tensors_of(finished_run.tensorboard, "scalars")
    assert seen.keys() == {tag_of(name) for name in rows[0] if name != "epoch"}
    assert {"train/loss", "optimizer/learning_rate", "dev/rsum", "dev/t2i_r10"} <= seen.keys()
    for name in rows[0].keys() - {"epoch"}:
        # A step is an epoch, counted from 1 as the progress bar does.
        expected = {epoch: row[name] for epoch, row in enumerate(rows, start=1)}
        assert seen[tag_of(name)] == pytest.approx(expected, rel=1e-6), name


def test_tensorboard_compares_configurations_and_best_results(finished_run):
    run = finished_run
    trial, hparams = hparams_of_session(run.best_results)
    assert trial == "/".join(run.path.parts[-2:])
    assert hparams == hparams_of(run.config())
    seen = tensors_of(run.best_results, "scalars")
    rsums = [row["val_rsum"] for row in rows_of(run)]
    best = {epoch: max(rsums[:epoch]) for epoch in range(1, 5)}
    assert seen.pop("dev/rsum") == pytest.approx(best)
    test = load_split(run.config(), "test")
    report = evaluate_model(keras.saving.load_model(run.best_model), test).as_dict()
    assert seen == {
        f"test/{name}": {run.progress["best_epoch"]: pytest.approx(value)}
        for name, value in report.items()
        if not name.endswith("_rank")
    }


# --- arguments and mistakes in them ---


def test_every_preset_parses():
    for name, config in PRESETS.items():
        assert train.parse(["--preset", name]).config == config
    changed = train.parse(["--preset", "coco", "--batch-size", "64", "--word-vectors", "g.txt"])
    assert changed.config.training == dataclasses.replace(PRESETS["coco"].training, batch_size=64)
    assert changed.config.data.word_vectors == "g.txt"
    assert changed.config.model == PRESETS["coco"].model


def test_help_shows_the_defaults_of_the_preset_without_tensorflow():
    script = """
import contextlib, importlib, sys
evaluate, train = (importlib.import_module(f"hslm_tf.{name}") for name in ("evaluate", "train"))
train.parse(["--preset", "coco"])
for command in (lambda: train.main(["--preset", "coco", "--help"]),
                lambda: evaluate.main(["exact", "--help"]), lambda: evaluate.main([])):
    with contextlib.suppress(SystemExit):
        command()
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in ("--decay-epochs INT", "(default: 15)", "(default: 2048)", "coco_precomp"):
        assert line in done.stdout
    assert "--protocol {all,1k,5k,coco-1k}" in done.stdout


def test_nobody_reads_more_than_55_flags(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    assert len(re.findall(r"^\W*--?[a-z]", capsys.readouterr().out, re.M)) <= 55


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--preset", "imagenet"], "There is no such preset, only sample, flickr8k"),
        (["--local-alignment"], "it needs cross_attention"),
        (["--no-local-alignment", "--no-global-alignment"], "there is nothing to score"),
        (["--devices", "GPU:7"], "--devices takes all, or some of CPU:0, each once. Received"),
        (["--epochs", "0"], "`epochs` must be at least 1"),
        (["--precision", "float8"], "Expected one of ('float32', 'mixed_float16'"),
        (["--dataset", "no/such/folder"], "no/such/folder holds no split: there is no such file"),
        (["--dev-split", "val"], "holds no region features of the split 'val'"),
        (["--region-dim", "9"], "region features are 8 wide, the model is configured for 9"),
        (["--vocabulary", "missing.json"], "missing.json"),
        (["--word-vectors", "missing.txt"], "missing.txt"),
    ],
)
def test_a_mistake_is_one_error_and_leaves_nothing(flags, message, run_flags, tmp_path, capsys):
    out = tmp_path / "run"
    error = fails([*run_flags, *flags, "--out", out], capsys)
    assert message in error
    assert not out.exists()


def test_an_existing_run_is_not_touched(finished_run, run_flags, capsys):
    before = {path: path.read_bytes() for path in finished_run.path.iterdir() if path.is_file()}
    error = fails([*run_flags, "--epochs", "18", "--out", finished_run.path], capsys)
    assert "holds a run with another configuration (epochs 18 instead of 4)" in error
    assert f"continue it with --resume {finished_run.path}, or choose another --out" in error
    assert {path: path.read_bytes() for path in before} == before
    assert "holds no run" in fails(["--resume", finished_run.tensorboard], capsys)


def test_a_training_leaves_nothing_in_memory(run_flags, tmp_path):
    def num_models():
        gc.collect()
        return sum(type(thing) is HSLM for thing in gc.get_objects())

    before = num_models()
    train.main([*run_flags, "--epochs", "1", "--out", str(tmp_path / "run")])
    assert num_models() == before


def test_broken_features_found_while_training_are_one_error(
    dataset_folder, run_flags, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(HSLM, "fit", lambda model, batches, **_: list(batches))
    # The fingerprint reads the first and the last image only, and does not see it.
    monkeypatch.setattr(fingerprint, "_SAMPLED_IMAGES", 2)
    folder = tmp_path / "broken"
    shutil.copytree(dataset_folder, folder)
    features = np.load(folder / "train_ims.npy")
    features[7, 2, 1] = np.nan
    np.save(folder / "train_ims.npy", features)
    error = fails([*run_flags, "--dataset", folder, "--out", tmp_path / "run"], capsys)
    assert "train_ims.npy, row 7: features of region 2 hold nan in column 1" in error


# --- words ---


def test_word_vectors_start_the_embedding(run_flags, tmp_path, caplog):
    vectors = tmp_path / "vectors.txt"
    lines = {"photo": np.arange(8.0), "sea": -np.arange(8.0), "unheard-of": np.ones(8)}
    vectors.write_text("".join(f"{word} {' '.join(map(str, v))}\n" for word, v in lines.items()))
    flags = ["--word-vectors", str(vectors)]
    config = train.parse([*run_flags, *flags]).config
    captions = splits.load_split(config, "train").captions
    with caplog.at_level("INFO", "hslm_tf"):
        model = new_model(config, split_captions(captions))
    [embedding] = model.text_encoder.get_layer("word_embedding").get_weights()
    assert f"2 of {len(model.vocabulary)} words have pretrained vectors" in caplog.text
    for word in ("photo", "sea"):
        vector = embedding[model.vocabulary.index(word)]
        np.testing.assert_allclose(vector / vector[1], lines[word] / lines[word][1], rtol=1e-5)
    assert np.abs(embedding[model.vocabulary.index("town")]).max() <= 0.1


@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_mixed_precision_own_vocabulary_and_truncated_captions(
    precision, run_flags, tmp_path, caplog, capsys
):
    words = ["<pad>", "<start>", "<end>", "<unk>", "sea", "photo", "a"]
    Vocabulary(words).save(tmp_path / "given.json")
    run = RunDirectory(tmp_path / "run")
    flags = ["--precision", precision, "--vocabulary", str(tmp_path / "given.json")]
    flags += ["--max-tokens", "8", "--epochs", "1"]
    train.main([*run_flags, *WHOLE, *flags, "--out", str(run.path)])
    # "a photo of thing0 over there ." is seven words, and of five places three are that long.
    assert "36 of 60 training captions are longer than 8 tokens" in caplog.text
    assert Vocabulary.load(run.vocabulary_file).words == tuple(words)
    importlib.import_module("hslm_tf.evaluate").main([str(run.path)])
    assert "R@10" in capsys.readouterr().out

    model = keras.saving.load_model(run.last_model)
    assert model.vocabulary == tuple(words)
    assert model.image_encoder.get_layer("image_mgcn").compute_dtype == precision.removeprefix(
        "mixed_"
    )
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert np.isfinite(rows_of(run)[0]["loss"])
    config = run.config()
    assert (config.training.precision, config.model.max_tokens) == (precision, 8)
