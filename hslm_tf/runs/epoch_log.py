"""A line for every epoch in log.csv, and one on the screen."""

import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
from tqdm import tqdm

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.runs.training_state import TrainingState


def write_epoch_log(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Writes the whole log anew, in one piece."""
    names = sorted({name for row in history for name in row})
    with atomic_write(path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *names])
        if history:
            writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(history))


class EpochLines(keras.callbacks.Callback):
    """Prints one line an epoch; everything else is in log.csv."""

    def __init__(self, state: TrainingState, epochs: int, steps: int) -> None:
        super().__init__()
        self.state, self.epochs, self.steps = state, epochs, steps

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.perf_counter()
        # None: only on a terminal.
        self._bar = tqdm(
            desc=self._name(epoch),
            total=self.steps,
            initial=self.state.steps,
            unit="step",
            leave=False,
            disable=None,
            bar_format="{desc} {bar} {n_fmt}/{total_fmt} {remaining} left{postfix}",
        )

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not self._bar.disable:
            self._bar.set_postfix_str(f"loss {float(logs['loss']):.3f}", refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._bar.close()
        seconds = time.perf_counter() - self._started
        line = (
            f"{self._name(epoch)}  loss {logs['loss']:.4f}  lr {logs['learning_rate']:.2e}  "
            f"{logs['pairs_per_second']:.0f} pairs/s  {seconds:.0f} s"
        )
        if not math.isnan(logs["val_rsum"]):
            line += (
                f"  dev i2t R@1 {logs['val_i2t_r1']:.1f}  t2i R@1 {logs['val_t2i_r1']:.1f}  "
                f"rsum {logs['val_rsum']:.1f}"
            )
        if self.state.best_epoch == epoch + 1:
            line += "  best"
        print(line, flush=True)

    def _name(self, epoch: int) -> str:
        return f"Epoch {epoch + 1}/{self.epochs}"
