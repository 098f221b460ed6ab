import dataclasses
import gc
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
from hslm_tf.runs.recipe import new_model
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from hslm_tf.runs.tensorboard_log import hparams_of, tag_of
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.training.callbacks import CollapseWarning
from tests.events import hparams_of_session, tensors_of
from tests.quick_graphs import QUICK_GRAPHS
from tests.tiny_run import LIGHT, STEPS, WHOLE, fails, rows_of


def test_a_run_leaves_everything(finished_run, run_flags):
    run = finished_run
    files = "config.json vocabulary.json best.keras last.keras previous.keras log.csv results.json"
    files += " progress.json provenance.json tensorboard"
    assert {path.name for path in run.path.iterdir()} == set(files.split())
    assert run.config() == train.parse([*run_flags, "--epochs", "4"]).config
    assert run.progress["epochs"] == 4
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    shares = [row["candidate_fraction"] for row in rows]
    assert 0 < shares[0] < shares[1] < shares[2] < shares[3] < 1
    rates = [row["learning_rate"] for row in rows]
    # After an epoch's last step: three epochs are over, and the rate has dropped.
    np.testing.assert_allclose(rates, [1e-3] * 2 + [1e-4] * 2, rtol=1e-5)
    warning = CollapseWarning(run.config().training.margin)
    assert not any(warning.collapsed(row) for row in rows)


def test_best_and_last_models_are_what_they_say(finished_run):
    run = finished_run
    rsums = [row["val_rsum"] for row in rows_of(run)]
    assert run.progress["best_rsum"] == max(rsums)
    assert run.progress["best_epoch"] == rsums.index(max(rsums)) + 1
    dev = load_split(run.config(), "dev")
    best, last = (keras.saving.load_model(file) for file in (run.best_model, run.last_model))
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


def test_tensorboard_shows_every_number(finished_run):
    rows = rows_of(finished_run)
    seen = tensors_of(finished_run.tensorboard, "scalars")
    assert seen.keys() == {tag_of(name) for name in rows[0] if name != "epoch"}
    groups = "train/loss train/candidate_fraction optimizer/learning_rate optimizer/gradient_norm "
    groups += "dev/rsum dev/i2t_r1 dev/t2i_r10 dev_ranks/t2i_mean_rank"
    assert set(groups.split()) <= seen.keys()
    for name in rows[0].keys() - {"epoch"}:
        # A step is an epoch, counted from 1 as the progress bar does.
        expected = {epoch: row[name] for epoch, row in enumerate(rows, start=1)}
        assert seen[tag_of(name)] == pytest.approx(expected, rel=1e-6), name


def test_tensorboard_compares_configurations_and_best_results(finished_run):
    run, config = finished_run, finished_run.config()
    trial, found = hparams_of_session(run.best_results)
    assert trial == "/".join(run.path.parts[-2:])
    assert found == hparams_of(config)
    assert found["learning_rate"] == config.training.learning_rate
    assert found["mgcn"] is False and found["patience"] == "none"
    assert (found["dataset"], found["vocabulary"]) == ("dataset0", "none")
    seen = tensors_of(run.best_results, "scalars")
    rsums = [row["val_rsum"] for row in rows_of(run)]
    best = {epoch: max(rsums[:epoch]) for epoch in range(1, 5)}
    assert seen.pop("dev/rsum") == pytest.approx(best)
    model = keras.saving.load_model(run.best_model)
    report = evaluate_model(model, load_split(config, "test")).as_dict()
    assert seen == {
        f"test/{name}": {run.progress["best_epoch"]: pytest.approx(value)}
        for name, value in report.items()
        if not name.endswith("_rank")
    }


def test_every_preset_parses():
    for name, config in PRESETS.items():
        assert train.parse(["--preset", name]).config == config
    coco = PRESETS["coco"]
    changed = train.parse(["--preset", "coco", "--batch-size", "64", "--word-vectors", "g.txt"])
    assert changed.config == dataclasses.replace(
        coco,
        training=dataclasses.replace(coco.training, batch_size=64),
        data=dataclasses.replace(coco.data, word_vectors="g.txt"),
    )


def test_help_shows_the_defaults_of_the_preset(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        train.main(["--preset", "coco", "--help"])
    printed = capsys.readouterr().out
    for line in ("--decay-epochs INT", "(default: 15)", "(default: 2048)", "coco_precomp"):
        assert line in printed
    flags = re.findall(r"^[^\w-]+(--?[a-z][a-z-]*)", printed, re.M)
    # Six of them came with the pretrained text encoder.
    assert len(flags) <= 61, "nobody reads more: a new field of the configuration replaces another"


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
    folder = shutil.copytree(dataset_folder, tmp_path / "broken")
    features = np.load(folder / "train_ims.npy")
    features[7, 2, 1] = np.nan
    np.save(folder / "train_ims.npy", features)
    error = fails([*run_flags, "--dataset", folder, "--out", tmp_path / "run"], capsys)
    assert "train_ims.npy, row 7: features of region 2 hold nan in column 1" in error


def test_word_vectors_start_the_embedding(run_flags, tmp_path, caplog):
    vectors = tmp_path / "vectors.txt"
    lines = {"photo": np.arange(8.0), "sea": -np.arange(8.0), "unheard-of": np.ones(8)}
    vectors.write_text("".join(f"{word} {' '.join(map(str, v))}\n" for word, v in lines.items()))
    config = train.parse([*run_flags, "--word-vectors", str(vectors)]).config
    with caplog.at_level("INFO", "hslm_tf"):
        model = new_model(config, load_split(config, "train").captions)
    assert f"2 of {len(model.vocabulary)} words have pretrained vectors" in caplog.text
    [embedding] = model.text_encoder.get_layer("word_embedding").get_weights()
    photo, sea = (embedding[model.vocabulary.index(word)] for word in ("photo", "sea"))
    np.testing.assert_allclose(photo / photo[1], lines["photo"], rtol=1e-5)
    np.testing.assert_array_equal(photo, -sea)


@pytest.mark.parametrize(
    ("precision", "parts"),
    [
        ("mixed_bfloat16", LIGHT),
        pytest.param("mixed_bfloat16", WHOLE, marks=pytest.mark.slow),
        pytest.param("mixed_float16", WHOLE, marks=pytest.mark.slow),
    ],
)
def test_mixed_precision_own_vocabulary_and_truncated_captions(
    precision, parts, run_flags, tmp_path, caplog
):
    words = ["<pad>", "<start>", "<end>", "<unk>", "sea", "photo", "a"]
    Vocabulary(words).save(tmp_path / "given.json")
    run = RunDirectory(tmp_path / "run")
    flags = ["--precision", precision, "--vocabulary", str(tmp_path / "given.json")]
    flags += ["--max-tokens", "8", "--epochs", "1"]
    train.main([*run_flags, *parts, *flags, "--out", str(run.path)])
    # "a photo of thing0 over there ." is seven words, and of five places three are that long.
    assert "36 of 60 training captions are longer than 8 tokens" in caplog.text
    assert Vocabulary.load(run.vocabulary_file).words == tuple(words)
    # The test split has been measured with it.
    assert run.results_file.exists()

    model = keras.saving.load_model(run.last_model)
    assert model.vocabulary == tuple(words)
    layer = model.text_encoder.get_layer("bidirectional_gru")
    if parts is WHOLE:
        layer = model.image_encoder.get_layer("image_mgcn")
    assert layer.compute_dtype == precision.removeprefix("mixed_")
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert np.isfinite(rows_of(run)[0]["loss"])
    config = run.config()
    assert (config.training.precision, config.model.max_tokens) == (precision, 8)


# Two logical devices of the one CPU; they must be made before TensorFlow uses it.
TWO_DEVICES = QUICK_GRAPHS + (
    "one = tf.config.LogicalDeviceConfiguration(); "
    "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], [one, "
    "one]); import sys; from hslm_tf import train; train.main(sys.argv[1:])"
)
NOTHING_DROPPED = "--word-dropout 0 --region-dropout 0 --feature-dropout 0 --drop-regions 0".split()


@pytest.mark.slow
def test_two_devices_learn_what_one_learns_and_go_on(run_flags, tmp_path):
    flags = [*run_flags, *NOTHING_DROPPED, *"--drop-words 0 --epochs 2".split()]
    # The loss on scores shares each device's part of the matrix.
    flags += "--contrastive-epochs 2 --contrastive-on score".split()
    devices = ["--devices", "CPU:0", "CPU:1"]

    def trained(name, *more):
        command = [sys.executable, "-c", TWO_DEVICES, *map(str, more)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and "goes on with" not in done.stderr, done.stderr
        return rows_of(RunDirectory(tmp_path / name))

    train.main([*flags, "--out", str(tmp_path / "one")])
    one = rows_of(RunDirectory(tmp_path / "one"))
    two = trained("two", *flags, "--out", tmp_path / "two", *devices)
    assert len(one) == len(two) == 2
    for name in ("loss", "val_rsum"):
        numbers = ([row[name] for row in rows] for rows in (two, one))
        np.testing.assert_allclose(*numbers, rtol=1e-4)
    assert len(trained("two", "--resume", tmp_path / "two", "--epochs", "3", *devices)) == 3
