"""How often something was seen, and where first."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Occurrences:
    """How often something was seen.

    Args:
        count: how often.
        first: the place where it was seen first, or None.
    """

    count: int = 0
    first: str | None = None

    def add(self, items: np.ndarray, place: Callable[[int], str]) -> None:
        """Counts more of them.

        Args:
            items: where it was seen, in order: numbers that `place` takes.
            place: names one of them.
        """
        if self.first is None and len(items):
            self.first = place(int(items[0]))
        self.count += len(items)
