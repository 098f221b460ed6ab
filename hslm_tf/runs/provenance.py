"""The record of where a run comes from: one entry for every time that it was trained."""

import dataclasses
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import tensorflow as tf

from hslm_tf.config import RunConfig
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.run_fingerprint import RunFingerprint
from hslm_tf.runs.training_state import TrainingState

logger = logging.getLogger("hslm_tf")

_LEARNED_FROM = ("train", "dev")


class Provenance:
    """The record of a run, about to get an entry more."""

    def __init__(self, run: RunDirectory, splits: Mapping[str, RetrievalDataset | None]) -> None:
        self._run = run
        self._sessions = _sessions(run)
        self.fingerprint = RunFingerprint.now(
            {role: split for role, split in splits.items() if split is not None}
        )

    def check(self) -> None:
        """Compares with the last session, which training goes on from."""
        if not self._sessions:
            return
        earlier = _last_fingerprint(self._run, self._sessions)
        for role, split in self.fingerprint.data.items():
            if role not in earlier.data:
                continue
            found = split.fingerprint.differences(earlier.data[role].fingerprint)
            if not found:
                continue
            message = (
                f"{split.source}: split {split.split!r} is not the one that {self._run.path} "
                f"recorded: {', '.join(found)}"
            )
            if role in _LEARNED_FROM:
                raise ValueError(f"{message}. It cannot go on as it began: choose another --out")
            logger.warning("%s", message)
        _warn_of_code(self._run, self.fingerprint, earlier)

    def record(self, run: RunDirectory, config: RunConfig, state: TrainingState) -> None:
        """Adds the session to the record, which is replaced in one piece."""
        session = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(sys.orig_argv),
            "after": {"epochs": state.epochs, "steps": state.steps},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "devices": _devices(),
            **self.fingerprint.to_dict(),
            "configuration": dataclasses.asdict(config),
        }
        with atomic_write(run.provenance_file) as draft:
            content = {"sessions": [*self._sessions, session]}
            draft.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def warn_of_another_fingerprint(run: RunDirectory, dataset: RetrievalDataset, chosen: bool) -> None:
    """Warns where a run is measured or used with other code or data than it was trained with."""
    try:
        sessions = _sessions(run)
        if not sessions:
            return
        earlier = _last_fingerprint(run, sessions)
        recorded = [split for split in earlier.data.values() if split.split == dataset.name]
        now = RunFingerprint.now({"measured": dataset} if recorded else {})
    except (OSError, DataError) as error:
        logger.warning("%s: what the run was trained with is not compared", error)
        return
    _warn_of_code(run, now, earlier)
    if not recorded:
        return
    found = [now.data["measured"].fingerprint.differences(split.fingerprint) for split in recorded]
    if all(found):
        logger.warning(
            "%s: split %r is not the one that %s recorded: %s%s",
            dataset.source,
            dataset.name,
            run.path,
            ", ".join(found[0]),
            " (--dataset names other data)" if chosen else "",
        )


def _sessions(run: RunDirectory) -> list[Any]:
    """The sessions of the record, oldest first; none without a record."""
    file = run.provenance_file
    if not file.exists():
        return []
    sessions = read_object(file).get("sessions")
    if not isinstance(sessions, list) or not sessions:
        raise DataError(
            f"{file}: sessions is {json.dumps(sessions)[:60]}, expected a list of objects: the "
            "file is damaged"
        )
    return sessions


def _last_fingerprint(run: RunDirectory, sessions: list[Any]) -> RunFingerprint:
    return RunFingerprint.from_dict(sessions[-1], f"{run.provenance_file}: session {len(sessions)}")


def _warn_of_code(run: RunDirectory, now: RunFingerprint, earlier: RunFingerprint) -> None:
    if found := now.code_differences(earlier):
        logger.warning("%s was trained by other code than runs now: %s", run.path, ", ".join(found))


def _devices() -> dict[str, Any]:
    devices = tf.config.list_physical_devices()
    gpus = [device for device in devices if device.device_type == "GPU"]
    return {
        "names": [device.name for device in devices],
        "gpus": [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus],
        "cpu_cores": os.cpu_count(),
    }
