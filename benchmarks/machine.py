"""Seconds of functions in turns, the speed of a large matrix product, memory of this process."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

_SIZE = 4096
_REPEATS = 4


def seconds_in_turns(functions: Sequence[Callable[[], object]], turns: int) -> np.ndarray:
    """Times functions that take turns, so that their ratios hold on a noisy machine.

    Args:
        functions: each is called once a turn.
        turns: number of turns; what the first ones build or warm up is not left out.

    Returns:
        Seconds `[functions, turns]`.
    """
    seconds = np.empty((len(functions), turns))
    for turn in range(turns):
        for row, function in enumerate(functions):
            started = time.perf_counter()
            function()
            seconds[row, turn] = time.perf_counter() - started
    return seconds


def gemm_ceiling(precision: str) -> float:
    """Times `tf.matmul` of a square matrix of 4096 rows and itself, with all threads.

    Args:
        precision: a Keras precision policy; its compute dtype is taken.

    Returns:
        The best of a few, in GFLOP/s.
    """
    import keras
    import tensorflow as tf

    dtype = keras.DTypePolicy(precision).compute_dtype
    # One matrix for both sides, because TensorFlow keeps memory that it has used.
    matrix = tf.cast(tf.random.normal([_SIZE, _SIZE]), dtype)
    # One number of the product is fetched: a GPU returns before it has computed.
    multiply = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0])
    seconds = seconds_in_turns([lambda: multiply().numpy()], 1 + _REPEATS)[0, 1:]
    return 2 * _SIZE**3 / float(seconds.min()) / 1e9


def peak_memory() -> float:
    """Returns the largest resident set of this process so far, in GB (1e9 bytes)."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but bytes on macOS.
    return largest * (1 if sys.platform == "darwin" else 1024) / 1e9


def gpu_memory() -> float | None:
    """Returns the most memory that TensorFlow held on the first GPU, in GB; None without one."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9


def resident_memory() -> tuple[float, float]:
    """Returns the anonymous memory and the mapped files in memory now, in GB; Linux only."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    anonymous, files = (int(status[kind].split()[0]) for kind in ("RssAnon", "RssFile"))
    return anonymous * 1024 / 1e9, files * 1024 / 1e9
