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
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, TypeVar

import tensorflow as tf

import hslm_tf
from hslm_tf.config import RunConfig, check_types
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object
from hslm_tf.fingerprint import CodeFingerprint, DataFingerprint
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.training_state import TrainingState

logger = logging.getLogger("hslm_tf")

_LIBRARIES = ("tensorflow", "keras", "tensorflow-text", "keras-hub", "numpy", "h5py")
# h5py changes no number, and runs without a pretrained text encoder do not need KerasHub.
_COMPARED = ("hslm_tf", "tensorflow", "keras", "tensorflow-text", "numpy")

Checked = TypeVar("Checked")


class RecordedSplit(NamedTuple):
    """A split that a training used."""

    split: str
    source: str
    fingerprint: DataFingerprint

    @classmethod
    def of(cls, dataset: RetrievalDataset) -> "RecordedSplit":
        """Takes the fingerprint of a split."""
        return cls(dataset.name, str(dataset.source), DataFingerprint.of(dataset))


@dataclasses.dataclass(frozen=True)
class RunFingerprint:
    """Code, libraries and data of a training."""

    versions: Mapping[str, str | None]
    code: CodeFingerprint
    data: Mapping[str, RecordedSplit]

    @classmethod
    def now(cls, splits: Mapping[str, RetrievalDataset] | None = None) -> "RunFingerprint":
        """Looks at what runs in this process."""
        versions = {"hslm_tf": hslm_tf.__version__} | {name: _version(name) for name in _LIBRARIES}
        data = {role: RecordedSplit.of(split) for role, split in (splits or {}).items()}
        return cls(versions, CodeFingerprint.now(), data)

    def to_dict(self) -> dict[str, Any]:
        """The fingerprint as JSON holds it."""
        data = {
            role: {**split._asdict(), "fingerprint": dataclasses.asdict(split.fingerprint)}
            for role, split in self.data.items()
        }
        return {"versions": self.versions, "code": dataclasses.asdict(self.code), "data": data}

    @classmethod
    def from_dict(cls, values: Any, place: str) -> "RunFingerprint":
        """Reads a fingerprint."""
        versions, code, data = _values(values, ("versions", "code", "data"), place)
        _values(versions, _COMPARED, place)
        splits = {}
        for role, recorded in _object(data, place).items():
            split, source, fingerprint = _values(recorded, RecordedSplit._fields, place)
            splits[role] = RecordedSplit(
                str(split), str(source), _checked(DataFingerprint, fingerprint, place)
            )
        return cls(versions, _checked(CodeFingerprint, code, place), splits)

    def code_differences(self, earlier: "RunFingerprint") -> list[str]:
        """Says in what code and libraries are not what they were."""
        pairs = ((name, self.versions[name], earlier.versions[name]) for name in _COMPARED)
        found = [f"{name} {now} instead of {then}" for name, now, then in pairs if now != then]
        code = self.code.difference(earlier.code)
        return found if code is None else [*found, code]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _object(values: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise DataError(f"{place} holds {json.dumps(values)[:60]}, expected an object")
    return values


def _values(values: Any, names: tuple[str, ...], place: str) -> list[Any]:
    if missing := [name for name in names if name not in _object(values, place)]:
        raise DataError(f"{place} lacks {', '.join(missing)} in {json.dumps(values)[:60]}")
    return [values[name] for name in names]


def _checked(kind: type[Checked], values: Any, place: str) -> Checked:
    names = tuple(field.name for field in dataclasses.fields(kind))
    made = kind(*_values(values, names, place))
    try:
        check_types(made)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    return made


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
