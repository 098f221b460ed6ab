"""Training steps with a graph for every stage of the loss, on one device or on all replicas."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from hslm_tf.training.retrieval_loss import Stage
from hslm_tf.training.trainer import RetrievalTrainer


def staged_step(
    model: RetrievalTrainer, strategy: tf.distribute.Strategy | None = None
) -> Callable[[Iterator[Any]], dict[str, tf.Tensor]]:
    """Makes a training step for `run_epochs`.

    The graph of a stage is built at its first step, and holds nothing of other stages.

    Args:
        model: a compiled model; one that was built and compiled in the scope of the strategy.
        strategy: shares every batch among its replicas, such as `tf.distribute.MirroredStrategy`;
            None: one device.

    Returns:
        To be called with the iterator of a dataset; with a strategy, of a distributed one, whose
        elements are shares. Returns the epoch means by name, which are the same on all replicas.
    """
    with strategy.scope() if strategy else contextlib.nullcontext():
        # In a graph with conditions its variables could not be made, and a graph in which
        # variables are made is built twice.
        # Built again, loss scaling would forget its scale.
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

    # The iterator knows which sizes change from batch to batch; batches alone do not.
    @tf.function
    def on_next(iterator: Iterator[Any], stage: Stage) -> dict[str, tf.Tensor]:
        if strategy is None:
            return model.train_step(next(iterator), stage)
        return strategy.run(model.train_step, (next(iterator), stage))

    def step(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        stage = model.retrieval_loss.stage(int(model.optimizer.iterations.numpy()))
        found = on_next(iterator, stage)
        if strategy is None:
            return found
        return {name: strategy.experimental_local_results(x)[0] for name, x in found.items()}

    return step
