"""A run as a report sees it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hslm_tf.config import RunConfig
from hslm_tf.evaluation.ranks import RecallReport


@dataclass(frozen=True)
class MeasuredRun:
    """What is known of a run.

    Args:
        name: what the report calls it.
        config: its configuration.
        log: numbers of every epoch by name, see `read_log`.
        recall: its recall on the split that is reported.
        row: the row of the paper's Table 4 that it is, or None.
    """

    name: str
    config: RunConfig
    log: Mapping[str, np.ndarray]
    recall: RecallReport
    row: int | None = None
