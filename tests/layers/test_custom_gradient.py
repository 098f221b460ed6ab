import functools
import gc
import weakref

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from hslm_tf.layers.custom_gradient import custom_gradient, gradients_end_with_graph


@custom_gradient
def tripled_backwards(x):
    return 2.0 * x, lambda upstream: 3.0 * upstream


def gradient_of(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


def twice(x):
    return tf.while_loop(lambda i, _: i < 2, lambda i, x: (i + 1, tripled_backwards(x)), (0, x))[1]


def in_condition(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tripled_backwards(x), lambda: x)


def test_gradient_is_used_eagerly_in_graphs_loops_and_conditions():
    x = tf.constant([1.0, 5.0])
    for function, factor in [(tripled_backwards, 3), (twice, 9), (in_condition, 3)]:
        np.testing.assert_array_equal(gradient_of(function, x), [factor, factor])
        in_graph = tf.function(functools.partial(gradient_of, function))
        np.testing.assert_array_equal(in_graph(x), [factor, factor])
        # A tape around a graph builds the gradient later than the graph.
        np.testing.assert_array_equal(gradient_of(tf.function(function), x), [factor, factor])


def graphs_left_by(function):
    gc.collect()
    before = len(gradient_registry.list())
    run = tf.function(function)
    concrete = run.get_concrete_function()
    run()
    assert len(gradient_registry.list()) > before
    graph = weakref.ref(concrete.graph)
    del run, concrete
    gc.collect()
    assert len(gradient_registry.list()) == before
    return graph()


def test_nothing_of_a_graph_outlives_it():
    assert graphs_left_by(lambda: gradient_of(twice, tf.constant([1.0]))) is None


def test_nothing_of_a_step_of_an_optimizer_outlives_it():
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([variable])

    @gradients_end_with_graph()
    def step():
        optimizer.apply([gradient_of(tripled_backwards, variable.value)], [variable])

    assert graphs_left_by(step) is None
    np.testing.assert_array_equal(variable, [-2.0])
