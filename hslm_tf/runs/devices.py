"""The devices that share each batch of a run."""

from collections.abc import Sequence

import tensorflow as tf


def make_strategy(devices: Sequence[str]) -> tf.distribute.Strategy | None:
    """Makes the distribution strategy of a run."""
    if not devices:
        return None
    if list(devices) == ["all"]:
        return tf.distribute.MirroredStrategy()
    there = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices()]
    if len(set(devices)) < len(devices) or not set(devices) <= set(there):
        raise ValueError(
            f"--devices takes all, or some of {', '.join(there)}, each once. "
            f"Received: --devices {' '.join(devices)}"
        )
    return tf.distribute.MirroredStrategy(list(devices))
