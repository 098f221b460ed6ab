"""Something about a data set that its owner should know."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Args:
        severity: `error` stops a training, `warning` does not.
        kind: what it is, a name for programs, such as `non_finite_features`.
        split: the split that it was found in.
        message: the place, what was found there, and what is expected.
    """

    severity: Severity
    kind: str
    split: str
    message: str
