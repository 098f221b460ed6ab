"""Benchmarks without the extras that they need."""

import ast
import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import search_latency

ROOT = Path(__file__).parents[2]


def always_there() -> set[str]:
    """Modules that every installation has."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    required = setup["options"]["install_requires"].split()
    names = {name.split(">")[0].replace("-", "_") for name in required}
    return names | set(sys.stdlib_module_names) | {"hslm_tf", "benchmarks"}


def extras_of(file: Path) -> set[str]:
    """Modules that a file imports anywhere, and that an installation may lack."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found - always_there()


NEEDY = {
    file.stem: extras for file in (ROOT / "benchmarks").glob("*.py") if (extras := extras_of(file))
}


def test_the_walk_finds_them():
    assert NEEDY["cca_baseline"] == {"scipy", "sklearn"}


@pytest.mark.parametrize("name", sorted(NEEDY))
def test_a_missing_extra_is_one_line(name):
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({sorted(NEEDY[name])})); "
        f"runpy.run_module('benchmarks.{name}', run_name='__main__', alter_sys=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith("error: ") and len(ended.stderr.splitlines()) == 1
    assert "is not installed: pip install hslm-tf[benchmarks]" in ended.stderr


def test_a_missing_index_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    arguments = ["--preset", "sample", "--items", "12", "--pool", "12", "--index", "faiss"]
    with pytest.raises(SystemExit, match=r"^error: .*pip install hslm-tf\[faiss\]$"):
        search_latency.main(arguments)
