"""Checks that every layer passes, in the spirit of KerasHub's `run_layer_test`."""

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tests.oracles.numerics import Affine

# How far a result may be from float32, relative to its largest entry.
POLICY_TOLERANCES = {"float32": 1e-6, "mixed_float16": 1e-2, "mixed_bfloat16": 8e-2}


def randomize(layer: keras.layers.Layer, seed: int = 0, scale: float = 1.0) -> None:
    """Draws every weight of a built layer, so that no test rests on zeros from initialization.

    Kernels keep the size of their input, biases and gains are of order one, a scalar stays
    within a factor of two of its value.
    """
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if len(weight.shape) == 0:
            weight.assign(float(weight) * rng.uniform(0.5, 1.5))
            continue
        deviation = scale * (0.5 if len(weight.shape) == 1 else weight.shape[0] ** -0.5)
        weight.assign(rng.normal(0.0, deviation, weight.shape))


def affine(dense: keras.layers.Dense) -> Affine:
    """The map of a Dense layer for the oracles."""
    return Affine(*(np.asarray(weight) for weight in dense.weights))


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Checks `max|a - b| <= tolerance * max|b|` for every array of a structure."""
    for a, b in zip(tree.flatten(actual), tree.flatten(expected), strict=True):
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        assert a.shape == b.shape
        assert np.all(np.isfinite(a)) and np.max(np.abs(b)) > 0
        assert np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))


def pad_batch(
    sequences: list[np.ndarray], length: int | None = None, garbage: float = 100.0
) -> tuple[np.ndarray, np.ndarray]:
    """Matrices `[M_i, d]` as one batch `[n, length, d]`, filled up with garbage, and its mask."""
    length = length or max(len(sequence) for sequence in sequences)
    rng = np.random.default_rng(length)
    batch = garbage * rng.normal(size=(len(sequences), length, sequences[0].shape[1]))
    batch = batch.astype(sequences[0].dtype)
    mask = np.zeros(batch.shape[:2], dtype=bool)
    for row, sequence in enumerate(sequences):
        batch[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = True
    return batch, mask


def run_layer_test(
    layer_class: type[keras.layers.Layer],
    *,
    init_kwargs: dict[str, Any],
    inputs: dict[str, Any],
    expected_output_shape: Any,
    expected_num_weights: int,
    output_in_float32: bool | tuple[bool, ...] = False,
    output_dtype: str | None = None,
    padded_inputs: dict[str, Any] | None = None,
    unpad: Callable[[Any], Any] = lambda outputs: outputs,
) -> None:
    """Runs the checks that are the same for all layers.

    Args:
        layer_class: the class under test.
        init_kwargs: arguments of its constructor.
        inputs: arguments of its call, by name; float arrays are float32.
        expected_output_shape: shape of the output, or a structure of them.
        expected_num_weights: number of weight tensors, all of them trainable.
        output_in_float32: whether the output is float32 under mixed precision too; one for each
            of several outputs where they differ.
        output_dtype: type of an output that is no feature, such as a mask; the same under every
            policy.
        padded_inputs: `inputs` with padding added, garbage in it.
        unpad: cuts the output for `padded_inputs` down to the one for `inputs`.
    """
    layer = layer_class(**init_kwargs)
    outputs = layer(**inputs)
    assert len(layer.weights) == len(layer.trainable_weights) == expected_num_weights
    shapes = tree.map_structure(lambda x: tuple(x.shape), outputs)
    assert shapes == expected_output_shape

    randomize(layer)
    outputs = layer(**inputs)
    if padded_inputs is not None:
        assert_close(unpad(layer(**padded_inputs)), outputs)
    for policy, tolerance in POLICY_TOLERANCES.items():
        _check_policy(layer, policy, inputs, outputs, tolerance, output_in_float32, output_dtype)
        if expected_num_weights:
            _check_training_step(layer, policy, inputs)
    _check_symbolic(layer, inputs, outputs)


def _with_policy(layer: keras.layers.Layer, policy: str, inputs: dict) -> keras.layers.Layer:
    """The layer with the same weights under another dtype policy."""
    twin = type(layer).from_config({**layer.get_config(), "dtype": policy})
    twin(**inputs)
    for weight, value in zip(twin.weights, layer.weights, strict=True):
        weight.assign(value)
    return twin


def _check_policy(
    layer: keras.layers.Layer,
    policy: str,
    inputs: dict,
    expected: Any,
    tolerance: float,
    output_in_float32: bool | tuple[bool, ...],
    output_dtype: str | None,
) -> None:
    twin = _with_policy(layer, policy, inputs)
    assert all(weight.dtype == "float32" for weight in twin.weights)
    outputs = twin(**inputs)
    flat = tree.flatten(outputs)
    wide = output_in_float32
    wide = wide if isinstance(wide, tuple) else (wide,) * len(flat)
    for output, in_float32 in zip(flat, wide, strict=True):
        expected_dtype = output_dtype or ("float32" if in_float32 else twin.compute_dtype)
        assert keras.backend.standardize_dtype(output.dtype) == expected_dtype
    assert_close(outputs, expected, tolerance)
    symbolic = twin(**tree.map_structure(lambda x: _symbolic_input(x, True), inputs))
    for x, y in zip(tree.flatten(symbolic), flat, strict=True):
        assert x.dtype == keras.backend.standardize_dtype(y.dtype)


def _check_training_step(layer: keras.layers.Layer, policy: str, inputs: dict) -> None:
    """One compiled step of an optimizer reaches every variable."""
    twin = _with_policy(layer, policy, inputs)
    optimizer = keras.optimizers.SGD(1.0)
    variables = twin.trainable_variables
    optimizer.build(variables)
    rng = np.random.default_rng(1)

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = tree.flatten(twin(**inputs))
            # Random weights: sums and squared norms of unit vectors have no gradient.
            loss = sum(
                tf.reduce_sum(tf.cast(x, "float32") * rng.normal(size=x.shape)) for x in outputs
            )
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return gradients

    before = [np.asarray(variable).copy() for variable in variables]
    gradients = step()
    sizes = [np.max(np.abs(gradient)) for gradient in gradients]
    assert np.all(np.isfinite(sizes))
    # Rounding leaves about 1e-7 of a gradient that is zero by construction.
    assert np.min(sizes) > 1e-6 * np.max(sizes)
    for old, variable in zip(before, variables, strict=True):
        assert np.any(old != np.asarray(variable))


def _check_symbolic(layer: keras.layers.Layer, inputs: dict, outputs: Any) -> None:
    """A functional model knows shape and dtype, takes any sizes, and survives a file."""
    for dynamic in (False, True):
        symbolic = tree.map_structure(lambda x, d=dynamic: _symbolic_input(x, d), inputs)
        symbolic_outputs = layer(**symbolic)
        for x, y in zip(tree.flatten(symbolic_outputs), tree.flatten(outputs), strict=True):
            assert x.dtype == keras.backend.standardize_dtype(y.dtype)
            assert len(x.shape) == len(y.shape)
            assert all(m in (None, n) for m, n in zip(x.shape, y.shape, strict=True))
    model = keras.Model(tree.flatten(symbolic), symbolic_outputs)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "layer.keras"
        model.save(path)
        revived = keras.saving.load_model(path)
    assert_close(revived(tree.flatten(inputs)), outputs, 1e-6)


def _symbolic_input(x: np.ndarray, dynamic: bool) -> keras.KerasTensor:
    """An Input for an array; if dynamic, only the width of a feature is known."""
    shape = x.shape
    if dynamic:
        shape = (None,) * (x.ndim - 1) + (x.shape[-1] if x.dtype.kind == "f" else None,)
    return keras.Input(batch_shape=shape, dtype=x.dtype.name)
