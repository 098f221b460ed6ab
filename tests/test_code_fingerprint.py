"""The state of the source files, with git, without it, and where it hangs."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hslm_tf import fingerprint
from hslm_tf.fingerprint import CodeFingerprint

ROOT = Path(__file__).parents[1]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of this one: `folder/hslm_tf` with two files, and two more."""
    folders = {name: tmp_path / "work" / name for name in ("hslm_tf", "layers", "training")}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(f"NAME = {folder.name!r}\n")
    names = ("hslm_tf", "hslm_tf.layers", "hslm_tf.training")
    found = dict(zip(names, folders.values(), strict=True))
    monkeypatch.setattr(fingerprint, "_folders", lambda: found)
    return tmp_path / "work"


def git(folder, *arguments):
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_hash_sees_every_source_file(package):
    before = CodeFingerprint.now()
    assert (before.commit, before.modified) == (None, None)
    (package / "hslm_tf" / "notes.txt").write_text("not code")
    assert CodeFingerprint.now() == before
    for file in ("hslm_tf/__init__.py", "layers/__init__.py", "training/rooms/new.py"):
        (package / file).parent.mkdir(exist_ok=True)
        (package / file).write_text("changed")
        now = CodeFingerprint.now()
        assert now.difference(before) == "other source files of hslm_tf"
        before = now
    (package / "layers" / "__init__.py").rename(package / "layers" / "init.py")
    assert CodeFingerprint.now().sha256 != before.sha256


def test_a_wheel_has_the_hash_of_its_checkout(tmp_path, monkeypatch):
    checkout = CodeFingerprint.now()
    installed = tmp_path / "hslm_tf"
    for source, target in (("hslm_tf", "."), ("layers", "layers"), ("training", "training")):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, installed / target, ignore=ignored, dirs_exist_ok=True)
    folders = {
        "hslm_tf": installed,
        "hslm_tf.layers": installed / "layers",
        "hslm_tf.training": installed / "training",
    }
    monkeypatch.setattr(fingerprint, "_folders", lambda: folders)
    assert CodeFingerprint.now() == CodeFingerprint(checkout.sha256, None, None)


@needs_git
def test_git_names_the_commit_and_changes(package, monkeypatch):
    git(package, "init", "--quiet")
    assert CodeFingerprint.now().commit is None, "the files are not in it"
    git(package, "add", ".")
    git(package, "commit", "--quiet", "-m", "first")
    commit = git(package, "rev-parse", "HEAD")
    clean = CodeFingerprint.now()
    assert (clean.commit, clean.modified) == (commit, False)
    (package / "README.md").write_text("no source file")
    assert CodeFingerprint.now() == clean
    # What a hook of git sets would name another work tree.
    monkeypatch.setenv("GIT_DIR", str(package / "elsewhere"))
    assert CodeFingerprint.now() == clean
    monkeypatch.delenv("GIT_DIR")
    (package / "layers" / "new.py").write_text("")
    changed = CodeFingerprint.now()
    assert (changed.commit, changed.modified) == (commit, True)
    assert changed.difference(clean) == (
        f"other source files of hslm_tf (commit {commit[:10]} with changes instead of "
        f"commit {commit[:10]})"
    )
    git(package, "add", ".")
    git(package, "commit", "--quiet", "-m", "second")
    later = CodeFingerprint.now()
    assert (later.commit, later.modified) == (git(package, "rev-parse", "HEAD"), False)
    assert later.difference(changed) is None, "the same files, committed"


@needs_git
def test_a_package_installed_below_a_work_tree_is_not_of_it(package, tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("work/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a project that installs the package")
    assert CodeFingerprint.now().commit is None


@pytest.mark.parametrize("script", [None, "exit 1", "sleep 30"])
def test_git_never_stops_a_run(script, package, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    if script:
        (programs / "git").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\nexec {script}\n")
        (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(fingerprint, "_GIT_SECONDS", 0.3)
    started = time.perf_counter()
    assert CodeFingerprint.now().commit is None
    assert time.perf_counter() - started < 10
