"""The fingerprint of a training: code, libraries and data."""

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, TypeVar

import hslm_tf
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.field_types import check_types
from hslm_tf.fingerprint import CodeFingerprint, DataFingerprint

_LIBRARIES = ("tensorflow", "keras", "tensorflow-text", "numpy", "h5py")
# h5py changes no number.
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
