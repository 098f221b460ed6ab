"""Progress of a long evaluation, on disk."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.regular_file import regular_file

logger = logging.getLogger("hslm_tf")

_FINGERPRINTS = "fingerprints"


class EvaluationState:
    """Arrays that an evaluation needs to continue after a stop, in one file."""

    def __init__(self, path: Path, fingerprints: Mapping[str, str], interval: float = 60.0) -> None:
        self.path = path
        self.fingerprints = dict(fingerprints)
        self.interval = interval
        self._written = time.monotonic()
        self._writable = True

    def load(self) -> dict[str, np.ndarray]:
        """Reads the arrays."""
        if not self.path.exists():
            return {}
        try:
            with np.load(regular_file(self.path), allow_pickle=False) as file:
                arrays = dict(file)
            saved = dict(json.loads(str(arrays.pop(_FINGERPRINTS))))
        # NumPy, zipfile and Python's parser raise anything on a damaged file.
        except Exception as error:
            logger.warning("%s: ignored, it is broken (%s)", self.path, error)
            return {}
        keys = self.fingerprints | saved
        other = [key for key in keys if saved.get(key) != self.fingerprints.get(key)]
        if other:
            logger.warning(
                "%s: ignored, it was left by an evaluation with other %s",
                self.path,
                ", ".join(other),
            )
            return {}
        return arrays

    def save_if_due(self, arrays: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Writes the arrays if the last write is long enough ago."""
        if time.monotonic() - self._written >= self.interval:
            self.save(arrays())

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays."""
        if not self._writable:
            return
        try:
            self.path.parent.mkdir(exist_ok=True)
            with atomic_write(self.path) as draft:
                np.savez(
                    draft, **arrays, **{_FINGERPRINTS: np.array(json.dumps(self.fingerprints))}
                )
        except OSError as error:
            logger.warning("This evaluation could not be continued if it were stopped: %s", error)
            self._writable = False
        self._written = time.monotonic()

    def clear(self) -> None:
        """Removes the file, if there is one."""
        try:
            if self.path.exists():
                self.path.unlink()
        except OSError as error:
            # The result is known: a state that cannot be removed must not end in an error.
            logger.warning("%s: not removed: %s", self.path, error)
