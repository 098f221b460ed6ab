"""The learning rate by epoch."""

from collections.abc import Callable


def step_decay(initial: float, decay_epochs: int, decay_rate: float) -> Callable[[int], float]:
    """A learning rate that drops by a factor every few epochs (HSLM Sec. 4.2).

    Args:
        initial: learning rate of the first epoch.
        decay_epochs: epochs between drops.
        decay_rate: factor of each drop.

    Returns:
        A function from the epoch, counted from 0, to its learning rate; for
        `keras.callbacks.LearningRateScheduler`.
    """

    def learning_rate(epoch: int, _current: float | None = None) -> float:
        return initial * decay_rate ** (epoch // decay_epochs)

    return learning_rate
