import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"hslm_tf": "hslm_tf", "hslm_tf.layers": "layers", "hslm_tf.training": "training"}
# Folders of Python files, as they lie in the wheel.
SOURCES = {
    f"{package.replace('.', '/')}/{file.relative_to(ROOT / folder).as_posix()}"
    for package, folder in FOLDERS.items()
    for file in (ROOT / folder).rglob("*.py")
}
PIP = (sys.executable, "-m", "pip")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy, so that nothing stale is packed and nothing is left behind."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    for folder in FOLDERS.values():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    build = (*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*build, "--wheel-dir", target, ".", cwd=source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("site")
    install = (*PIP, "install", "--quiet", "--no-deps", "--no-index")
    run(*install, "--target", folder, wheel, cwd=folder)
    return folder


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = {name.replace(".", "/") for name in config["options"]["packages"].split()}
    assert listed == {source.rpartition("/")[0] for source in SOURCES}
    assert {f"{package}/__init__.py" for package in listed} <= SOURCES


def test_wheel_is_small_and_complete(wheel):
    assert wheel.stat().st_size < 16e6
    names = set(zipfile.ZipFile(wheel).namelist())
    sample = {
        f"hslm_tf/data/sample/{file.name}" for file in (ROOT / "hslm_tf/data/sample").iterdir()
    }
    assert len(sample) > 1
    assert sample | {"hslm_tf/py.typed"} <= names
    report = {"published_recalls.json", "templates/page.html", "templates/page.css"}
    assert {f"hslm_tf/report/{name}" for name in report} <= names
    assert {name for name in names if name.endswith(".py")} == SOURCES


def test_installed_wheel_works_from_an_empty_directory(site, tmp_path):
    assert [path.name for path in site.iterdir() if path.suffix != ".dist-info"] == ["hslm_tf"]
    script = f"""
import importlib.util, sys
sys.path.insert(0, {str(site)!r})
import hslm_tf
assert hslm_tf.__path__ == [{str(site / "hslm_tf")!r}], hslm_tf.__path__
from hslm_tf.data import load_sample
assert load_sample("test").num_images == 100
import hslm_tf.layers, hslm_tf.training, hslm_tf.text, hslm_tf.evaluation, hslm_tf.retrieval
for package in (hslm_tf.layers, hslm_tf.training):
    assert package.__file__.startswith({str(site)!r}), package.__file__
for name in ("layers", "training"):
    assert importlib.util.find_spec(name) is None, name
"""
    run(sys.executable, "-c", script, cwd=tmp_path)


def test_checkout_finds_its_folders_from_the_root(site):
    script = f"""
import importlib.util, sys
sys.path.insert(1, {str(site)!r})
for name in ("layers", "training"):
    print(importlib.util.find_spec(f"hslm_tf.{{name}}").origin)
"""
    found = run(sys.executable, "-c", script, cwd=ROOT).splitlines()
    assert found == [str(ROOT / folder / "__init__.py") for folder in ("layers", "training")]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff_is_content(command):
    pytest.importorskip("ruff")
    run(sys.executable, "-m", "ruff", *command, ".", cwd=ROOT)


def test_retrieval_and_evaluation_load_tensorflow_when_it_is_needed():
    script = """
import sys
from hslm_tf import evaluation, retrieval
assert all(hasattr(evaluation, name) for name in evaluation.__all__)
assert "tensorflow" not in sys.modules
for name in ("CaptionEncodings", "Collection", "Hit", "ImageEncodings", "ProjectionHeads"):
    assert getattr(retrieval, name).__name__ == name
assert "tensorflow" in sys.modules and not hasattr(retrieval, "nothing")
"""
    run(sys.executable, "-c", script, cwd=ROOT)


@pytest.mark.parametrize(
    "page", [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")], ids=lambda p: p.name
)
def test_pages_name_files_that_exist(page):
    if page.name == "CHANGELOG.md":
        return
    text = page.read_text("utf-8")
    files = re.findall(r"\b(?:hslm_tf|layers|training|tests|benchmarks)/[\w/]+\.(?:py|txt)", text)
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert not [name for name in files if not (ROOT / name).exists()]
    assert not [name for name in links if not (page.parent / name).exists()]
