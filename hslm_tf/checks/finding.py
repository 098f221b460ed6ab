"""Findings of a check: what occurs how often, and its meaning for the owner of the data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something in a split: `error` stops a training, `warning` does not."""

    severity: Severity
    # A name for programs.
    kind: str
    split: str
    message: str


@dataclass
class Occurrences:
    """Something odd that is counted: a name for programs, words for it, and what is expected."""

    kind: str
    what: str
    expected: str | None = None
    count: int = 0
    # The place where it occurs first.
    first: str | None = None

    def add(self, items: np.ndarray, place: Callable[[int], str]) -> None:
        """Counts more items; `place` names one of them."""
        if self.first is None and len(items):
            self.first = place(int(items[0]))
        self.count += len(items)


def counted(kind: str, what: str, expected: str | None = None) -> Occurrences:
    """A field of a report."""
    return field(default_factory=lambda: Occurrences(kind, what, expected))


def counted_findings(split: str, report: Any, stops: Severity = "warning") -> Iterator[Finding]:
    """Findings of a report; `stops` is the severity of faults that make a split useless."""
    for part in fields(report):
        seen = getattr(report, part.name)
        if isinstance(seen, Occurrences) and seen.count:
            message = f"{seen.what}: {seen.count:,}, the first is {seen.first}"
            message += f"; expected {seen.expected}" if seen.expected else ""
            severity = stops if part.name in ("unreadable", "non_finite") else "warning"
            yield Finding(severity, seen.kind, split, message)
