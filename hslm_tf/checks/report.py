"""The report on a data set."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hslm_tf.checks.caption_scan import CaptionReport
from hslm_tf.checks.column_statistics import ColumnStatistics
from hslm_tf.checks.finding import Finding, Occurrences, Severity, counted_findings
from hslm_tf.checks.region_scan import BoxReport, FeatureReport


@dataclass(frozen=True)
class SplitReport:
    """The contents of a split."""

    source: str
    features: FeatureReport
    captions: CaptionReport | None
    boxes: BoxReport | None

    def findings(self, split: str, stops: Severity) -> Iterator[Finding]:
        """Oddities of the split; `stops` is the severity of faults that make it useless."""
        yield from self.features.findings(split, stops)
        if self.captions is not None:
            yield from counted_findings(split, self.captions)
            if self.captions.unknown is not None:
                yield from counted_findings(split, self.captions.unknown)
        if self.boxes is not None:
            yield from counted_findings(split, self.boxes)


@dataclass(frozen=True)
class Overlap:
    """Captions and images of a split that are in another, which comes before it."""

    split: str
    other: str
    ids: Occurrences
    images: Occurrences
    captions: Occurrences


@dataclass(frozen=True)
class DatasetReport:
    """The contents of a data set."""

    source: str
    # The splits that could be opened.
    splits: Mapping[str, SplitReport]
    overlaps: tuple[Overlap, ...]
    # Where the vocabulary comes from, and its number of words without the special ones.
    vocabulary: str | None
    vocabulary_size: int | None
    max_tokens: int
    # Errors first.
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Findings that stop a training."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it; None stands for what is not finite."""
        return {"stops_training": bool(self.errors)} | _plain(self)


def _plain(value: Any) -> Any:
    if isinstance(value, ColumnStatistics):
        value = value.to_dict()
    elif isinstance(value, Occurrences):
        value = {"count": value.count, "first": value.first}
    elif dataclasses.is_dataclass(value):
        value = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    elif isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
