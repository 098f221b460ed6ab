"""Callbacks of training: validation, speed, averaged weights, and what stops or warns."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

logger = logging.getLogger("hslm_tf")


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives the model its averaged weights for a while, where the optimizer keeps an average."""
    trained = _trained_weights(model)
    if trained:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        _restore(model, trained)


class TrainedWeights(keras.callbacks.Callback):
    """Undoes what Keras does at the end of `fit`, so that another `fit` can go on from there."""

    # Keras leaves the average in the model.
    def on_train_begin(self, logs: dict | None = None) -> None:
        self._trained: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._trained = _trained_weights(self.model)

    def on_train_end(self, logs: dict | None = None) -> None:
        _restore(self.model, self._trained)


def _trained_weights(model: keras.Model) -> list[np.ndarray]:
    """The weights that training goes on with; none where the optimizer keeps no average."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not getattr(optimizer, "use_ema", False):
        return []
    return [variable.numpy() for variable in model.trainable_variables]


def _restore(model: keras.Model, weights: list[np.ndarray]) -> None:
    if weights:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


class Validation(keras.callbacks.Callback):
    """Adds measurements of the (averaged) model to the logs of every epoch, as `val_...`."""

    def __init__(
        self,
        measure: Callable[[keras.Model], Mapping[str, float]],
        every: int = 1,
        names: Sequence[str] = (),
        last_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.measure = measure
        self.every = every
        # The numbers that are NaN after an epoch that is not measured. The last one always is.
        self.names = names
        self.last_epoch = last_epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self.every and epoch + 1 != (self.last_epoch or self.params["epochs"]):
            measured = dict.fromkeys(self.names, math.nan)
        else:
            with averaged_weights(self.model):
                measured = self.measure(self.model)
        logs.update({f"val_{name}": value for name, value in measured.items()})


class LearningRateLog(keras.callbacks.Callback):
    """Adds `learning_rate`, that of the next step, to the logs, as Keras's TensorBoard does."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def seed_states(model: keras.Model) -> list[keras.Variable]:
    """The states of a model's random generators, which dropout draws from."""
    return [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]


class SeedOfEpoch(keras.callbacks.Callback):
    """Makes dropout a function of the seed and the epoch, so that a resumed run draws the same."""

    # Keras does not save the states of its random generators.
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        states = seed_states(self.model)
        drawn = np.random.SeedSequence((self.seed, epoch)).generate_state(len(states))
        for state, number in zip(states, drawn, strict=True):
            state.assign([int(number) >> 1, 0])


class FirstStep(keras.callbacks.Callback):
    """Says why the first step takes long, and how long it took."""

    def __init__(self, started: float) -> None:
        super().__init__()
        self.started: float | None = started

    def on_train_begin(self, logs: dict | None = None) -> None:
        logger.info("The graph of a step is built, which takes a while")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.started is not None:
            logger.info("First step after %.1f s", time.perf_counter() - self.started)
            self.started = None


class Throughput(keras.callbacks.Callback):
    """Adds `pairs_per_second`: image-caption pairs per second of an epoch's steps."""

    def __init__(self, pairs_per_epoch: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.pairs_per_step = pairs_per_epoch / steps_per_epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._start = time.perf_counter()
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._steps += 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        seconds = time.perf_counter() - self._start
        # A resumed run may have done all steps of the epoch before.
        rate = self._steps * self.pairs_per_step / seconds if self._steps else math.nan
        logs["pairs_per_second"] = rate


class CollapseWarning(keras.callbacks.Callback):
    """Warns when hardest negatives have collapsed the model: it scores all pairs alike."""

    def __init__(self, margin: float, tolerance: float = 0.02) -> None:
        super().__init__()
        self.margin = margin
        self.tolerance = tolerance

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.collapsed(logs):
            logger.warning(
                "Epoch %d: training has collapsed. The loss is %.4f, twice the margin is %.4f, "
                "%.0f%% of the hinges are active: all pairs score alike. Use a negative "
                "curriculum, a longer one, or a lower learning rate.",
                epoch + 1,
                logs["loss"],
                2 * self.margin,
                100 * logs["active_hinges"],
            )

    def collapsed(self, logs: Mapping[str, float]) -> bool:
        """Says whether the means of an epoch are those of a collapsed model."""
        pinned = abs(logs["loss"] - 2 * self.margin) <= self.tolerance * 2 * self.margin
        alike = abs(logs["positive_score"] - logs["negative_score"]) <= self.tolerance * self.margin
        return pinned and alike and logs["active_hinges"] > 0.95


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
        # Loss scaling skips a step that overflows and halves the scale: twenty halvings lead from
        # its first scale, 2**15, to 2**-5.
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
