"""What happens between epochs: validation, speed, and a warning when training has collapsed."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from hslm_tf.training.averaging import averaged_weights

logger = logging.getLogger("hslm_tf")


class Validation(keras.callbacks.Callback):
    """Adds measurements of the model to the logs of every epoch, as `val_...`."""

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

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        states = seed_states(self.model)
        drawn = np.random.SeedSequence((self.seed, epoch)).generate_state(len(states))
        for state, number in zip(states, drawn, strict=True):
            state.assign([int(number) >> 1, 0])


class FirstStep(keras.callbacks.Callback):
    """Logs the time until the end of the first step, in which the graph is built."""

    def __init__(self, started: float) -> None:
        super().__init__()
        self.started = started
        self._said = False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not self._said:
            logger.info("First step after %.1f s", time.perf_counter() - self.started)
            self._said = True


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
        # All steps may have been done before the run was resumed.
        rate = self._steps * self.pairs_per_step / seconds if self._steps else math.nan
        logs["pairs_per_second"] = rate


class CollapseWarning(keras.callbacks.Callback):
    """Warns when hardest negatives have collapsed the model."""

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
