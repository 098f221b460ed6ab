"""A run as a report sees it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hslm_tf.config import RunConfig
from hslm_tf.evaluation.ranks import RecallReport


@dataclass(frozen=True)
class MeasuredRun:
    """What is known of a run."""

    name: str
    config: RunConfig
    log: Mapping[str, np.ndarray]
    recall: RecallReport
    row: int | None = None
