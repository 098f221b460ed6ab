"""A dataset of twelve images on disk and the flags of a model small enough to train in a test."""

# conftest.py imports this: what TensorFlow prints when it is imported there would follow pytest's
# closing line. So Keras is imported where it is used.

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from hslm_tf import train
from hslm_tf.runs.run_directory import RunDirectory

IMAGES, REGIONS, WIDTH = 12, 6, 8
SIZES = (
    "--region-dim 8 --max-regions 6 --joint-dim 8 --word-dim 8 --similarity-dim 8 --mgcn-layers 1 "
    "--batch-size 16 --min-count 1"
).split()
# Row 1 of Table 4, whose graphs are built in half the time of the whole model's.
LIGHT = "--no-mgcn --no-self-attention --no-cross-attention --no-local-alignment".split()
WHOLE = "--mgcn --self-attention --cross-attention --local-alignment".split()
# 60 captions in batches of 16 are 4 steps an epoch.
STEPS = 4


def write_dataset(folder: Path, images: int = IMAGES, seed: int = 0) -> Path:
    """Writes three splits of the same things, each with other noise; five captions an image."""
    folder.mkdir(parents=True, exist_ok=True)
    things = np.random.default_rng(seed).normal(size=(images, 1, WIDTH))
    places = ("here", "over there", "in the old town", "again", "near the sea")
    captions = [f"A photo of thing{i} {place}." for i in range(images) for place in places]
    for number, split in enumerate(("train", "dev", "test")):
        noise = np.random.default_rng((seed, number)).normal(size=(images, REGIONS, WIDTH))
        np.save(folder / f"{split}_ims.npy", (things + noise).astype(np.float32))
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n", "utf-8")
    return folder


def rows_of(run: RunDirectory) -> list[dict[str, float]]:
    """The numbers of every epoch."""
    with open(run.log_file, encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def fails(args, capsys, command=train):
    """Runs the command, which must fail; returns its line, or what its parser says."""
    with pytest.raises(SystemExit) as stop:
        command.main([str(arg) for arg in args])
    printed = capsys.readouterr()
    if isinstance(stop.value.code, str):
        assert stop.value.code.startswith("error: ")
        assert "\n" not in stop.value.code
        assert command is train or printed.out == ""
        return stop.value.code
    assert stop.value.code == 2
    return " ".join((printed.out + printed.err).replace("│", " ").split())


def assert_same_training(run: RunDirectory, expected: RunDirectory) -> None:
    """Weights, optimizer and logged numbers are equal to the last bit, but for the speed."""
    import keras

    for name in ("last_model", "best_model"):
        resumed, straight = (
            [*model.weights, *model.optimizer.variables]
            for model in (keras.saving.load_model(getattr(r, name)) for r in (run, expected))
        )
        for one, other in zip(resumed, straight, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    rows, expected_rows = rows_of(run), rows_of(expected)
    for row in (*rows, *expected_rows):
        del row["pairs_per_second"]
    assert rows == expected_rows
    assert run.progress == expected.progress


def copy_of(run: RunDirectory, path: Path) -> RunDirectory:
    """A copy of a run."""
    return RunDirectory(shutil.copytree(run.path, path))


def run_with_other_weights(run: RunDirectory, path: Path) -> RunDirectory:
    """A copy of a run whose best model has other weights, as of another seed."""
    import keras

    from hslm_tf.runs.checkpoints import save_whole

    other = copy_of(run, path)
    model = keras.saving.load_model(other.best_model)
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
    save_whole(model, other.best_model)
    return other
