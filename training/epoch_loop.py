"""The loop over epochs and steps, which can begin in the middle of an epoch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras


def run_epochs(
    model: keras.Model,
    batches: Iterable[Any],
    step: Callable[[Iterator[Any]], Any],
    epochs: int,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    start: tuple[int, int] = (0, 0),
    verbose: int = 0,
) -> None:
    """Trains a model as `fit` does, which can only begin with a whole epoch.

    Args:
        model: a compiled model.
        batches: one pass over it is an epoch; the first pass is what is left of the first epoch,
            unless that is nothing.
        step: called with an iterator of batches; learns from the next one and returns the epoch
            means by name.
        epochs: last epoch, counted from 1.
        steps: steps of a whole epoch.
        callbacks: as for `fit`. A callback that finds `start` in the middle of an epoch restores
            the epoch means in `on_epoch_begin`.
        start: complete epochs, and complete steps of the epoch after these.
        verbose: 1 shows a progress bar, 0 nothing.
    """
    listed = keras.callbacks.CallbackList(
        callbacks,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
        model=model,
    )
    model.stop_training = False
    listed.on_train_begin()
    first_epoch, first_step = start
    for epoch in range(first_epoch, epochs):
        model.reset_metrics()
        listed.on_epoch_begin(epoch)
        if first_step < steps:
            iterator = iter(batches)
        for number in range(first_step, steps):
            listed.on_train_batch_begin(number)
            listed.on_train_batch_end(number, step(iterator))
            if model.stop_training:
                break
        first_step = 0
        listed.on_epoch_end(epoch, dict(model.get_metrics_result()))
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)
    listed.on_train_end()
