"""Benchmarks without the extras that they need."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import search_latency


def test_a_missing_extra_is_one_line():
    code = "import runpy, sys; sys.modules.update(sklearn=None, scipy=None); "
    code += "runpy.run_module('benchmarks.cca_baseline', run_name='__main__', alter_sys=True)"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(" is not installed: pip install hslm-tf[benchmarks]")


def test_a_missing_index_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    arguments = ["--preset", "sample", "--items", "12", "--pool", "12", "--index", "faiss"]
    with pytest.raises(SystemExit, match=r"^error: .*pip install hslm-tf\[faiss\]$"):
        search_latency.main(arguments)
