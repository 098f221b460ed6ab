"""Damaged files of every kind: each mutant is refused by name, or is a whole file all the same."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hslm_tf.data import formats
from tests.fuzz.kinds import DATASETS
from tests.fuzz.other_kinds import KINDS
from tests.fuzz.worker import LARGEST


@dataclass
class Tally:
    """What came of the mutants of one kind.

    Attributes:
        kind: name of the kind.
        outcomes: how many were equal, other, refused, faults, hung, crashed or greedy.
        problems: a line for each fault, hang and crash.
        seconds: longest time of a mutant that was read to its end.
        grown: most memory that one mutant took beyond what was taken before, bytes.
    """

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    grown: int = 0

    def add(self, result: dict) -> None:
        what, of_hdf5 = result["what"], KINDS[self.kind].ends_process
        if of_hdf5 and result.get("text", "").startswith("took "):
            # libhdf5 takes the memory that a damaged length says.
            what = "greedy"
        else:
            self.grown = max(self.grown, result.get("grown", 0))
        self.outcomes[what] += 1
        self.seconds = max(self.seconds, result.get("seconds", 0.0))
        allowed = ("hung", "crashed", "greedy") if of_hdf5 else ()
        if what not in ("equal", "other", "refused", *allowed):
            where = f"{self.kind}, mutant {result['number']} of {result['file']}"
            self.problems.append(f"{where}: {result['what']} {result['text']}")


def read_mutants(kind: str, count: int, folder: Path, seed: int = 0) -> Tally:
    """Reads mutants of a kind; one that hangs or crashes ends its worker, and the next goes on."""
    tally, first = Tally(kind), 0
    while first < count:
        first = _worker(tally, [kind, count, seed, first, folder / f"from-{first}"])
    return tally


def _worker(tally: Tally, arguments: list) -> int:
    """Runs one worker from a mutant on; returns the mutant to go on with."""
    kind, count, *_, folder = arguments
    begun: dict = {}
    with open(f"{folder}.txt", "w+b") as errors:
        command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, arguments)]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        ) as worker:
            for line in worker.stdout:
                begun = json.loads(line)
                if "what" in begun:
                    tally.add(begun)
                    begun = {}
        errors.seek(0)
        output = errors.read().decode(errors="replace")
    if not begun and worker.returncode == 0:
        return count
    assert begun, f"the worker of {kind} ended outside of a mutant: {output[-2000:]}"
    place = output.partition("(most recent call first):\n")[2].strip() or output
    tally.add({**begun, "what": "hung" if "Timeout" in output else "crashed", "text": place[:500]})
    return begun["number"] + 1


# 300 in all; 2,000 of each kind are a slow test.
EACH = -(-300 // len(KINDS))


def assert_survived(tally, count):
    assert not tally.problems, "\n".join(tally.problems)
    assert sum(tally.outcomes.values()) == count
    ended = {"hung", "crashed", "greedy"} if KINDS[tally.kind].ends_process else set()
    assert set(tally.outcomes) <= {"equal", "other", "refused", *ended}
    # Most damage is seen: of thousands of mutants of a kind at least two thirds.
    assert tally.outcomes["refused"] > count / 3
    assert tally.grown < LARGEST


@pytest.mark.parametrize("kind", KINDS)
def test_mutants(kind, tmp_path):
    assert_survived(read_mutants(kind, EACH, tmp_path), EACH)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutants(kind, tmp_path):
    assert_survived(read_mutants(kind, 2000, tmp_path, seed=1000), 2000)


def test_every_reader_of_a_format_is_tried(tmp_path):
    modules = [
        importlib.import_module(f"{formats.__name__}.{module.name}")
        for module in pkgutil.iter_modules(formats.__path__)
    ]
    readers = {
        (function.__code__.co_filename, name)
        for module in modules
        for name, function in vars(module).items()
        if name.startswith("read_") and function.__module__ == module.__name__
    }
    for row, kind in enumerate(DATASETS):
        (tmp_path / str(row)).mkdir()
        kind.write(tmp_path / str(row))
    called = set()
    sys.setprofile(lambda frame, *_: called.add((frame.f_code.co_filename, frame.f_code.co_name)))
    try:
        for row, kind in enumerate(DATASETS):
            kind.read(tmp_path / str(row))
    finally:
        sys.setprofile(None)
    assert readers and readers <= called


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


def test_the_worker_sees_forbidden_acts(tmp_path):
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
