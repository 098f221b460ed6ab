"""Exact results of a run that are known, by what they depend on."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport
from hslm_tf.runs.run_directory import RunDirectory

logger = logging.getLogger("hslm_tf")

_READ_BLOCK_SIZE = 100


class KnownRecall:
    """Exact results in `exact_recall.json` of a run.

    A record that is damaged or cannot be written costs a line in the log, and nothing else: the
    results can be computed again.

    Args:
        run: the run, the first one of an ensemble.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._file = run.exact_recall

    def add(self, identity: Mapping[str, str], report: RecallReport) -> None:
        """Keeps a result.

        Args:
            identity: what it depends on, see `result_identity`.
            report: the result.
        """
        known = self._read() | {_key(identity): {**identity, "recall": dataclasses.asdict(report)}}
        try:
            with atomic_write(self._file) as draft:
                write_object(draft, known)
        except OSError as error:
            logger.warning("The result is not kept for comparisons: %s", error)

    def find(self, identity: Mapping[str, str]) -> RecallReport | None:
        """Finds a result.

        Args:
            identity: as for `add`.

        Returns:
            The result, or None where there is none.
        """
        found = self._read().get(_key(identity))
        try:
            sides = {} if found is None else found["recall"]
            return found and RecallReport(
                **{side: DirectionReport(**numbers) for side, numbers in sides.items()}
            )
        except (KeyError, TypeError, AttributeError):
            logger.warning("%s: ignored, it is damaged", self._file)
            return None

    def _read(self) -> dict[str, Any]:
        try:
            return read_object(self._file) if self._file.exists() else {}
        except (DataError, OSError) as error:
            logger.warning("%s. It is ignored", error)
            return {}


def result_identity(
    runs: Sequence[RunDirectory], data: Mapping[str, str], protocol: str
) -> dict[str, str]:
    """What a result depends on.

    Args:
        runs: the run, or the members of an ensemble.
        data: `data_identity` of the dataset.
        protocol: as for `evaluate_scores`.

    Returns:
        Identity for `KnownRecall`.
    """
    return {"weights": weights_identity(runs), **data, "protocol": protocol}


def weights_identity(runs: Sequence[RunDirectory]) -> str:
    """Digests of the best models of runs, in order."""
    digests = []
    for run in runs:
        with open(run.best_model, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(digests)


def data_identity(dataset: RetrievalDataset) -> dict[str, str]:
    """Digests of the captions and of the region features of a dataset."""
    captions = json.dumps([dataset.captions, dataset.caption_to_image.tolist()])
    regions = hashlib.sha256()
    for rows in row_blocks(dataset.num_images, _READ_BLOCK_SIZE):
        for array in dataset.read_images(rows):
            regions.update(np.ascontiguousarray(array))
    return {
        "captions": hashlib.sha256(captions.encode()).hexdigest(),
        "regions": regions.hexdigest(),
    }


def _key(identity: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()[:16]
