"""Graphs without TensorFlow's optimizations, which take a fifth of the time of a tiny run."""

from collections.abc import Iterator
from contextlib import contextmanager

# What a process does first whose numbers must equal the tests' own to the last bit.
QUICK_GRAPHS = "import tensorflow as tf; tf.config.optimizer.set_experimental_options"
QUICK_GRAPHS += "({'disable_meta_optimizer': True}); "


@contextmanager
def quick_graphs(quick: bool = True) -> Iterator[None]:
    """Leaves the optimizations out, or with False keeps them, until the block ends."""
    import tensorflow as tf

    options = tf.config.optimizer.get_experimental_options()
    before = options.get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": quick})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})
