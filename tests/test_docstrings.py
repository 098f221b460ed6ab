"""Docstrings are full for what users call and one line for everything else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    file for folder in ("hslm_tf", "layers", "training") for file in (ROOT / folder).rglob("*.py")
)
SECTION = re.compile(r"(Args|Attributes|Call arguments|Raises):")
# What a description may begin with beside small letters, digits and marks.
NAMES = r"R@\d|[A-Z][\w-]*[A-Z0-9_]\w*|Keras|TensorFlow|Adam|HSLM|SGRAF|None|True|False|Id"
Documented = ast.FunctionDef | ast.ClassDef


def imported_names(source: str) -> Iterator[str]:
    """Names that a file imports from hslm_tf, and those that it asks the package for."""
    for line in re.findall(r"^ *from hslm_tf[\w.]* import (\(.+?\)|[^\n]+)", source, re.S | re.M):
        yield from re.findall(r"\w+", line.split("#")[0])
    yield from re.findall(r"hslm_tf\.(\w+)\(", source)


def public_names() -> set[str]:
    """Whatever a package of the face exports or a page of the docs imports."""
    texts = [file.read_text("utf-8") for file in ROOT.glob("docs/*.md")]
    texts += [(ROOT / "README.md").read_text("utf-8")]
    texts += [file.read_text("utf-8") for file in FILES if file.name == "__init__.py"]
    return {name for text in texts for name in imported_names(text)}


PUBLIC = public_names()


def documented(file: Path) -> Iterator[tuple[Documented, bool]]:
    """Every function and class of a file, and whether users call it."""

    def walk(node: ast.AST, users: bool) -> Iterator[tuple[Documented, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Documented):
                name = child.name
                if isinstance(node, ast.Module):
                    # The help of a command is the docstring of its arguments.
                    public = name in PUBLIC or name.endswith(("Arguments", "Config"))
                else:
                    public = users and name[0] != "_"
                yield child, public
                yield from walk(child, public and isinstance(child, ast.ClassDef))

    return walk(ast.parse(file.read_text("utf-8")), users=False)


def entries(docstring: str) -> Iterator[tuple[str, str, str]]:
    """Section, name and first line of the description of every entry."""
    section = None
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            found = SECTION.fullmatch(line)
            section = found and found[1]
        elif section and (entry := re.match(r" {4}(\*{0,2}\w+): (.+)", line)):
            yield section, entry[1], entry[2]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_are_written_alike(file):
    for node, public in documented(file):
        docstring = ast.get_docstring(node) or ""
        assert public or "\n" not in docstring, f"{node.name} is internal: one line is enough"
        for section, name, text in entries(docstring):
            if section == "Raises":
                assert re.match(r"(if|as for|as|whatever) ", text), f"{name}: {text}"
            else:
                assert not text[0].isupper() or re.match(NAMES, text), f"{name}: {text}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_sentences_begin_with_their_subject(file):
    text = file.read_text("utf-8")
    assert not re.findall(r'(?:"""|# )(?:Of|What|Whatever|Who|Whose)\b.*', text)


def test_every_argument_of_the_face_is_described():
    missing = []
    for file in FILES:
        for node, public in documented(file):
            docstring = ast.get_docstring(node) or ""
            if not (public and isinstance(node, ast.FunctionDef) and "\nArgs:" in docstring):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = {argument.arg for argument in arguments} - {"self", "cls"}
            described = {name for _, name, _ in entries(docstring)}
            missing += [f"{file.name} {node.name}: {name}" for name in names - described]
    assert not missing


def test_the_whole_is_seen():
    assert {"HSLM", "Collection", "load_dataset", "CrossAttention", "ContrastiveLoss"} <= PUBLIC
    seen = [public for file in FILES for _, public in documented(file)]
    assert seen.count(True) > 100 and seen.count(False) > 500
