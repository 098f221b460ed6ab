"""The scripts in the README run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
TRAINING, SEARCH = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def output_of(script: str, folder: Path) -> str:
    (folder / "script.py").write_text(script, "utf-8")
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={"PYTHONPATH": str(README.parent), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_training(tmp_path):
    assert len([line for line in TRAINING.splitlines() if line.strip()]) < 15
    output = output_of(TRAINING, tmp_path)
    (rsum,) = re.findall(r"^rsum (\d+\.\d)$", output, re.MULTILINE)
    # Chance is 31.5 on the sample's test split; one epoch is enough to leave it.
    assert 31.5 < float(rsum) < 600
    assert (tmp_path / "model.keras").stat().st_size > 0
    assert "shape=(2,)" in output and "shape=(2, 1)" in output


def test_search(tmp_path, whole_run, dataset_folder):
    (tmp_path / "runs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "runs/f30k-1").symlink_to(whole_run.path)
    (tmp_path / "data/f30k_precomp").symlink_to(dataset_folder)
    assert len([line for line in SEARCH.splitlines() if line.strip()]) <= 4
    lines = output_of(SEARCH, tmp_path).splitlines()
    scores = [float(line.split()[1]) for line in lines]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
