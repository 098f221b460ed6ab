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
    """A small package in place of this one: `folder/hslm_tf` and two more, each with a file."""
    stand_for(monkeypatch, tmp_path / "work")
    for name in ("hslm_tf", "layers", "training"):
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / "__init__.py").write_text(f"NAME = {name!r}\n")
    return tmp_path / "work"


def stand_for(monkeypatch, folder, inner=""):
    found = {"hslm_tf": folder / "hslm_tf"}
    found |= {f"hslm_tf.{name}": folder / inner / name for name in ("layers", "training")}
    monkeypatch.setattr(fingerprint, "_folders", lambda: found)


def git(folder, *arguments):
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    command = ["git", "-C", folder, *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit_all(folder):
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "everything")
    return git(folder, "rev-parse", "HEAD")


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
    for source in ("hslm_tf", "layers", "training"):
        target = tmp_path / "hslm_tf" / source.removeprefix("hslm_tf")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, target, ignore=ignored, dirs_exist_ok=True)
    stand_for(monkeypatch, tmp_path, "hslm_tf")
    assert CodeFingerprint.now() == CodeFingerprint(checkout.sha256, None, None)


@needs_git
def test_git_names_the_commit_and_changes(package, monkeypatch):
    git(package, "init", "--quiet")
    assert CodeFingerprint.now().commit is None, "the files are not in it"
    commit = commit_all(package)
    clean = CodeFingerprint.now()
    assert (clean.commit, clean.modified) == (commit, False)
    (package / "README.md").write_text("no source file")
    assert CodeFingerprint.now() == clean
    # What a hook of git sets would name another work tree.
    with monkeypatch.context() as patch:
        patch.setenv("GIT_DIR", str(package / "elsewhere"))
        assert CodeFingerprint.now() == clean
    (package / "layers" / "new.py").write_text("")
    changed = CodeFingerprint.now()
    assert (changed.commit, changed.modified) == (commit, True)
    states = f"commit {commit[:10]} with changes instead of commit {commit[:10]}"
    assert changed.difference(clean) == f"other source files of hslm_tf ({states})"
    commit = commit_all(package)
    later = CodeFingerprint.now()
    assert (later.commit, later.modified) == (commit, False)
    assert later.difference(changed) is None, "the same files, committed"


@needs_git
def test_a_package_installed_below_a_work_tree_is_not_of_it(package, tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("work/\n")
    commit_all(tmp_path)
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
