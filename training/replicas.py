"""Training steps on all replicas of a distribution strategy."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from hslm_tf.training.retrieval_loss import Stage
from hslm_tf.training.trainer import RetrievalTrainer


def replica_step(
    model: RetrievalTrainer, strategy: tf.distribute.Strategy
) -> Callable[[Iterator[Any]], dict[str, tf.Tensor]]:
    """Makes a training step for `run_epochs` that learns from a batch shared by all replicas.

    Args:
        model: a model that was built and compiled in the scope of the strategy.
        strategy: the strategy, such as `tf.distribute.MirroredStrategy`.

    Returns:
        To be called with the iterator of a distributed dataset, whose elements are shares; returns
        the epoch means by name, which are the same on all replicas.
    """
    with strategy.scope():
        # In a graph with conditions its variables could not be made.
        model.optimizer.build(model.trainable_variables)

    # The iterator knows which sizes change from batch to batch; batches alone do not.
    @tf.function
    def on_replicas(iterator: Iterator[Any], stage: Stage) -> dict[str, tf.Tensor]:
        return strategy.run(model.train_step, (next(iterator), stage))

    def step(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        stage = model.retrieval_loss.stage(int(model.optimizer.iterations.numpy()))
        found = on_replicas(iterator, stage)
        return {name: strategy.experimental_local_results(x)[0] for name, x in found.items()}

    return step
