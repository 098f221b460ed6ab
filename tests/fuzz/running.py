"""Runs workers over mutants, and starts another one where one hangs or crashes."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.all_kinds import KINDS


@dataclass
class Tally:
    """What came of the mutants of one kind.

    Attributes:
        kind: name of the kind.
        outcomes: how many were equal, other, refused, faults, hung or crashed.
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
        self.outcomes[result["what"]] += 1
        self.seconds = max(self.seconds, result.get("seconds", 0.0))
        self.grown = max(self.grown, result.get("grown", 0))
        allowed = ("hung", "crashed") if KINDS[self.kind].ends_process else ()
        if result["what"] not in ("equal", "other", "refused", *allowed):
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
        told = errors.read().decode(errors="replace")
    if not begun and worker.returncode == 0:
        return count
    assert begun, f"the worker of {kind} ended outside of a mutant: {told[-2000:]}"
    place = told.partition("(most recent call first):\n")[2].strip() or told
    tally.add({**begun, "what": "hung" if "Timeout" in told else "crashed", "text": place[:500]})
    return begun["number"] + 1
