"""Docstrings are written alike everywhere; what ruff does not look at."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    file
    for folder in ("hslm_tf", "layers", "training", "benchmarks")
    for file in (ROOT / folder).rglob("*.py")
)
SECTION = re.compile(r"(Args|Attributes|Call arguments|Raises):")
# What a description may begin with beside small letters, digits and marks.
NAMES = r"R@\d|[A-Z][\w-]*[A-Z0-9_]\w*|Keras|TensorFlow|Adam|HSLM|SGRAF|None|True|False|Id"


def entries(file: Path) -> Iterator[tuple[str, str, str]]:
    """Section, name and first line of the description of every entry of every docstring."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        section = None
        for line in (ast.get_docstring(node) or "").splitlines():
            if line and not line.startswith(" "):
                found = SECTION.fullmatch(line)
                section = found and found[1]
            elif section and (entry := re.match(r" {4}(\*{0,2}\w+): (.+)", line)):
                yield section, entry[1], entry[2]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_entries_are_written_alike(file):
    for section, name, text in entries(file):
        if section == "Raises":
            assert re.match(r"(if|as for|as|whatever) ", text), f"{name}: {text}"
        else:
            assert not text[0].isupper() or re.match(NAMES, text), f"{name}: {text}"


def test_the_whole_is_seen():
    sections = [section for file in FILES for section, _, _ in entries(file)]
    assert sections.count("Raises") > 100 and sections.count("Args") > 500
