"""Stops a training that can no longer learn: numbers that are not finite."""

import math
from collections.abc import Callable, Sequence

import keras


class StopOnDivergence(keras.callbacks.Callback):
    """Stops training with an error when the loss or the gradients are not finite."""

    def __init__(
        self,
        captions_of: Callable[[int, int], Sequence[int]] | None = None,
        checkpoint: Callable[[], str] = lambda: "Nothing of this epoch was saved",
        start: tuple[int, int] = (0, 0),
        patience: int = 20,
    ) -> None:
        super().__init__()
        self.captions_of = captions_of
        self.checkpoint = checkpoint
        self.start = start
        self.patience = patience
        self._in_a_row = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._skipped: float | None = None

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if self._skipped is None:
            # In the middle of an epoch that was resumed, some steps are counted already.
            counts = [m.result() for m in self.model.metrics if m.name == "skipped_steps"]
            self._skipped = float(sum(counts))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            self._stop(batch, f"The loss is {logs['loss']}")
        skipped = logs.get("skipped_steps", 0.0)
        self._in_a_row = self._in_a_row + 1 if skipped > self._skipped else 0
        self._skipped = skipped
        scaled = hasattr(self.model.optimizer, "inner_optimizer")
        if self._in_a_row and not scaled:
            self._stop(batch, "The gradients are not finite")
        if self._in_a_row > self.patience:
            self._stop(batch, f"The gradients overflow float16, {self._in_a_row} steps in a row,")

    def _stop(self, batch: int, what: str) -> None:
        if self._epoch == self.start[0]:
            batch += self.start[1]
        of = ""
        if self.captions_of is not None:
            rows = ", ".join(map(str, self.captions_of(self._epoch, batch)))
            of = f", whose training captions are the rows {rows} (from 0)"
        raise FloatingPointError(
            f"{what} in epoch {self._epoch + 1}, step {batch + 1}{of}. {self.checkpoint()}; a "
            "lower learning rate or a smaller gradient clip may help."
        )
