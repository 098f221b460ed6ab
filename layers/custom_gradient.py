"""Custom gradients that end with their graph."""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

# TensorFlow has no public way to remove a gradient from its registry.
from tensorflow.python.framework.ops import gradient_registry


def custom_gradient(function: Callable[..., tuple]) -> Callable[..., Any]:
    """`tf.custom_gradient` that does not keep its graph alive, see `gradients_end_with_graph`."""
    return gradients_end_with_graph()(tf.custom_gradient(function))


@contextlib.contextmanager
def gradients_end_with_graph() -> Iterator[None]:
    """Custom gradients that are used within this context are forgotten with their graph."""
    # TensorFlow's registry never forgets a gradient, and so keeps its graph and weights: a process
    # that trains one model after another would keep all of them. Here the graph holds its
    # gradients, and the registry weak references. Optimizers of Keras use a custom gradient, too.
    registered = gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        graph = tf.compat.v1.get_default_graph()
        for name in registered.keys() - before:
            gradient = registered[name]["type"]
            if not isinstance(gradient, _WeakGradient):
                graph.add_to_collection("custom_gradients", gradient)
                registered[name]["type"] = _WeakGradient(gradient)
                weakref.finalize(gradient, registered.pop, name, None).atexit = False


class _WeakGradient:
    """Calls a gradient as long as there is a graph that holds it."""

    def __init__(self, gradient: Callable[..., Any]) -> None:
        self._gradient = weakref.ref(gradient)

    def __call__(self, *args: Any) -> Any:
        return self._gradient()(*args)
