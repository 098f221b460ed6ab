"""How often something was seen, and where first."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Occurrences:
    """How often something was seen."""

    count: int = 0
    first: str | None = None

    def add(self, items: np.ndarray, place: Callable[[int], str]) -> None:
        """Counts more of them."""
        if self.first is None and len(items):
            self.first = place(int(items[0]))
        self.count += len(items)
