"""The exact results of a run in one file, each beside the fingerprints that it depends on."""

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport
from hslm_tf.fingerprint import DataFingerprint, model_fingerprint
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.models.hslm import HSLM

logger = logging.getLogger("hslm_tf")


def exact_result(
    models: "Sequence[HSLM]", dataset: RetrievalDataset, protocol: str
) -> dict[str, str]:
    """Fingerprints of all that an exact result depends on."""
    return {
        "models": " ".join(map(model_fingerprint, models)),
        "data": DataFingerprint.of(dataset).digest(),
        "protocol": protocol,
    }


def keep_recall(run: RunDirectory, result: Mapping[str, str], report: RecallReport) -> None:
    """Keeps a result in `results.json` of a run."""
    known = _read(run) | {_key(result): {**result, "recall": dataclasses.asdict(report)}}
    try:
        with atomic_write(run.results_file) as draft:
            write_object(draft, known)
    except OSError as error:
        logger.warning("The result is not kept for comparisons: %s", error)


def known_recall(run: RunDirectory, result: Mapping[str, str]) -> RecallReport | None:
    """Finds a result that was kept."""
    found = _read(run).get(_key(result))
    try:
        if found is None:
            return None
        sides = {side: DirectionReport(**numbers) for side, numbers in found["recall"].items()}
        report = RecallReport(**sides)
        for value in report.as_dict().values():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise TypeError("expected finite numbers")
        return report
    except (KeyError, TypeError, AttributeError, OverflowError):
        logger.warning("%s: ignored, it is damaged", run.results_file)
        return None


def _read(run: RunDirectory) -> dict[str, Any]:
    try:
        return read_object(run.results_file) if run.results_file.exists() else {}
    except (DataError, OSError) as error:
        logger.warning("%s. It is ignored", error)
        return {}


def _key(result: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(result), sort_keys=True).encode()).hexdigest()[:16]
