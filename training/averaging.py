"""The moving average of a model's weights, which the optimizer keeps."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives the model its averaged weights for a while, where the optimizer keeps an average.

    Args:
        model: a model; unless its optimizer has `use_ema`, nothing changes.

    Yields:
        Nothing. Afterwards the model has the weights that it is trained on.
    """
    optimizer = getattr(model, "optimizer", None)
    if not getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False):
        yield
        return
    kept = [variable.numpy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, kept, strict=True):
            variable.assign(value)
