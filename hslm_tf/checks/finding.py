"""What a check finds: how often something occurs, and what the owner of the data should know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
    """How often something occurs, and the place where it does so first."""

    count: int = 0
    first: str | None = None

    def add(self, items: np.ndarray, place: Callable[[int], str]) -> None:
        """Counts more items; `place` names one of them."""
        if self.first is None and len(items):
            self.first = place(int(items[0]))
        self.count += len(items)
