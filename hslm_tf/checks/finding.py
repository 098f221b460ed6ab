"""Something about a data set that its owner should know."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that was found."""

    severity: Severity
    kind: str
    split: str
    message: str
