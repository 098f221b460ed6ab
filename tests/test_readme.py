"""The script in the README runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_script_of_the_readme_runs(tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) < 20
    (tmp_path / "script.py").write_text(script, "utf-8")
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(README.parent), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    (rsum,) = re.findall(r"^rsum (\d+\.\d)$", result.stdout, re.MULTILINE)
    # Chance is 31.5 on the sample's test split; one epoch is enough to leave it.
    assert 31.5 < float(rsum) < 600
    assert (tmp_path / "model.keras").stat().st_size > 0
    assert "shape=(2,)" in result.stdout and "shape=(2, 1)" in result.stdout
