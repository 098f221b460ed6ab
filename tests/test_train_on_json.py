"""Training directly on Karpathy's JSON, whose features lie elsewhere."""

import importlib
import json

import numpy as np
import pytest

from hslm_tf import index, train
from hslm_tf.runs.opening import open_collection
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from tests.tiny_run import LIGHT, SIZES


@pytest.fixture
def karpathy(tmp_path):
    """A JSON with four splits, and features that lie elsewhere."""
    rng = np.random.default_rng(0)
    splits = ["train"] * 12 + ["restval"] * 4 + ["val"] * 4 + ["test"] * 4
    images = [
        {
            "filename": f"{row}.jpg",
            "split": split,
            "sentences": [{"raw": f"A photo of thing{row} here."}, {"raw": f"thing{row}"}],
        }
        for row, split in enumerate(splits)
    ]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": images}))
    features = tmp_path / "features"
    features.mkdir()
    np.save(features / "all_ims.npy", rng.normal(size=(24, 6, 8)).astype(np.float32))
    (features / "all_ids.txt").write_text("".join(f"{row}.jpg\n" for row in range(24)))
    return tmp_path / "dataset.json", features


def test_a_json_is_trained_on_beside_features_elsewhere(karpathy, tmp_path, capsys, monkeypatch):
    dataset, features = karpathy
    out = tmp_path / "run"
    files = [
        "--word-vectors",
        "None",
        "--dataset",
        dataset,
        "--features",
        features,
        "--restval",
        "--captions-per-image",
        1,
    ]
    monkeypatch.chdir(tmp_path)
    train.main([str(arg) for arg in (*SIZES, *LIGHT, *files, "--epochs", 1, "--out", out)])
    run = RunDirectory(out)
    monkeypatch.undo()
    config = run.config()
    assert config.data.restval and config.data.features == str(features)
    split = load_split(config, "train")
    assert split.num_images == 16 and split.num_captions == 16
    capsys.readouterr()
    # `hslm_tf.evaluate` is the function.
    importlib.import_module("hslm_tf.evaluate").main([str(out)])
    assert "test" in capsys.readouterr().out
    index.main([str(out), "--collection", str(tmp_path / "dev.h5"), "--split", "dev"])
    assert open_collection(tmp_path / "dev.h5").ids == ["16.jpg", "17.jpg", "18.jpg", "19.jpg"]
