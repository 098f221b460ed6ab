"""The moving average of a model's weights, which the optimizer keeps."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives the model its averaged weights for a while, where the optimizer keeps an average."""
    if not _averages(model):
        yield
        return
    kept = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, kept, strict=True):
            variable.assign(value)


class TrainedWeights(keras.callbacks.Callback):
    """Gives the model the weights that it is trained on at the end of `fit`, not their average."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if _averages(self.model):
            self._kept = [variable.numpy() for variable in self.model.trainable_variables]

    def on_train_end(self, logs: dict | None = None) -> None:
        if _averages(self.model):
            for variable, value in zip(self.model.trainable_variables, self._kept, strict=True):
                variable.assign(value)


def _averages(model: keras.Model) -> bool:
    optimizer = getattr(model, "optimizer", None)
    return getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False)
