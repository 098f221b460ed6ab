"""The log that a run leaves."""

import csv
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError


def read_log(file: Path) -> dict[str, np.ndarray]:
    """Reads `log.csv`."""
    if not file.exists():
        return {}
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            names, rows = reader.fieldnames or (), list(reader)
        return {
            # Keras writes NA for what an epoch lacks.
            name: np.array(
                [float("nan" if row[name] in (None, "", "NA") else row[name]) for row in rows]
            )
            for name in names
        }
    except (ValueError, csv.Error) as error:
        raise DataError(f"{file}: not the log of a run: {error}") from None
