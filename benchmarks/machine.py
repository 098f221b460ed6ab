"""The speed of a large matrix product on this machine, and the memory of this process."""

import resource
import sys
import time
from pathlib import Path

_SIZE = 4096
_REPEATS = 4


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
    multiply().numpy()
    seconds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        multiply().numpy()
        seconds.append(time.perf_counter() - started)
    return 2 * _SIZE**3 / min(seconds) / 1e9


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
