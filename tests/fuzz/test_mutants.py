"""Damaged files of every kind: each mutant is refused by name, or is a whole file all the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.all_kinds import KINDS
from tests.fuzz.running import read_mutants
from tests.fuzz.worker import LARGEST

# 2,000 in all.
EACH = -(-2000 // len(KINDS))


def assert_survived(tally, count):
    assert not tally.problems, "\n".join(tally.problems)
    assert sum(tally.outcomes.values()) == count
    ended = {"hung", "crashed"} if KINDS[tally.kind].ends_process else set()
    assert set(tally.outcomes) <= {"equal", "other", "refused", *ended}
    # Most damage is seen.
    assert tally.outcomes["refused"] > count / 2
    assert tally.grown < LARGEST


@pytest.mark.parametrize("kind", KINDS)
def test_mutants(kind, tmp_path):
    assert_survived(read_mutants(kind, EACH, tmp_path), EACH)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutants(kind, tmp_path):
    assert_survived(read_mutants(kind, 2000, tmp_path, seed=1000), 2000)


WATCHED = """
import json, os, pickle, subprocess, sys, tempfile
from pathlib import Path
from tests.fuzz.worker import Watch
folder = Path(sys.argv[1])
for name in ("data", "scratch", "outside"):
    (folder / name).mkdir()
    (folder / name / "a").write_text("a")
watch = Watch(folder)
def seen(action):
    with watch:
        action()
    return watch.seen
class Payload:
    def __reduce__(self):
        return os.getcwd, ()
payload = pickle.dumps(Payload())
print(json.dumps({
    "read": seen(lambda: open(folder / "data" / "a").close()),
    "scratch": seen(lambda: open(folder / "scratch" / "a", "w").close()),
    "outside": seen(lambda: open(folder / "outside" / "a").close()),
    "write": seen(lambda: open(folder / "data" / "a", "w").close()),
    "pickle": seen(lambda: pickle.loads(payload)),
    "program": seen(lambda: subprocess.run(["true"])),
}))
"""


def test_the_worker_sees_what_it_should_not_see(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    seen = json.loads(found.stdout)
    assert seen["read"] == seen["scratch"] == []
    for name, what in (
        ("outside", "open "),
        ("write", "open "),
        ("pickle", "pickle.find_class"),
        ("program", "subprocess.Popen"),
    ):
        assert any(event.startswith(what) for event in seen[name]), name
