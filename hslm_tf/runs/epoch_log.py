"""The log of a run: a line of numbers for every epoch."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hslm_tf.data.atomic_write import atomic_write


def write_epoch_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Writes the whole log anew, in one piece."""
    names = sorted({name for row in history for name in row})
    with atomic_write(path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *names])
        if history:
            writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(history))
