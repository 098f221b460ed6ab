"""The devices that share each batch of a run."""

from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

StrategyName = Literal["mirrored"]


def make_strategy(
    name: StrategyName | None, devices: Sequence[str] = ()
) -> tf.distribute.Strategy | None:
    """Makes the distribution strategy of a run.

    Args:
        name: `"mirrored"` for the devices of this machine; None: one device.
        devices: devices to mirror on, such as `"GPU:0"`; by default all GPUs.

    Returns:
        The strategy, or None.

    Raises:
        ValueError: if devices are named without `"mirrored"`, twice, or are not there.
    """
    if devices and name != "mirrored":
        raise ValueError(f"--devices goes with --strategy mirrored. Received: --strategy {name}")
    if name is None:
        return None
    there = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices()]
    if len(set(devices)) < len(devices) or not set(devices) <= set(there):
        raise ValueError(
            f"--devices takes some of {', '.join(there)}, each once. "
            f"Received: --devices {' '.join(devices)}"
        )
    return tf.distribute.MirroredStrategy(list(devices) or None)
