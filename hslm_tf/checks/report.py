"""What a check of a data set says."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hslm_tf.checks.box_scan import BoxReport
from hslm_tf.checks.caption_scan import CaptionReport
from hslm_tf.checks.column_statistics import ColumnStatistics
from hslm_tf.checks.feature_scan import FeatureReport
from hslm_tf.checks.finding import Finding
from hslm_tf.checks.overlap import Overlap


@dataclass(frozen=True)
class SplitReport:
    """What a split holds."""

    source: str
    features: FeatureReport
    captions: CaptionReport | None
    boxes: BoxReport | None


@dataclass(frozen=True)
class DatasetReport:
    """What a data set holds."""

    source: str
    splits: Mapping[str, SplitReport]
    overlaps: tuple[Overlap, ...]
    vocabulary: str | None
    vocabulary_size: int | None
    max_tokens: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Findings that stop a training."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {"stops_training": bool(self.errors)} | _plain(self)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        plain = {name: _plain(getattr(value, name)) for name in names}
        if isinstance(value, ColumnStatistics):
            return {"overall": value.overall(), "constant": _plain(value.constant)} | plain
        return plain
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
