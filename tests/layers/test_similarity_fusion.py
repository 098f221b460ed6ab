import numpy as np
import pytest

from hslm_tf.layers import SimilarityFusion
from tests.layer_test import affine, assert_close, randomize, run_layer_test
from tests.oracles.numerics import Affine
from tests.oracles.similarity import similarity_fusion
from tests.packed_example import packed_example

WIDTH = 6


def draw_inputs(dtype: str = "float32") -> dict[str, np.ndarray]:
    """Local vectors of two blocks, four images and ten packed words, and the global vectors."""
    rng = np.random.default_rng(10)
    return {
        "local": rng.normal(size=(2, 4, 10, WIDTH)).astype(dtype),
        "segment_ids": packed_example(WIDTH).segment_ids,
        "global": rng.normal(size=(2, 4, 3, WIDTH)).astype(dtype),
    }


def choose(inputs: dict[str, np.ndarray], branch: str) -> dict[str, np.ndarray]:
    keys = {"local": ["local", "segment_ids"], "global": ["global"], "both": list(inputs)}
    return {key: inputs[key] for key in keys[branch]}


@pytest.mark.parametrize(
    "branch, normalize",
    # One gate alone, divided by itself, has no gradient: the global branch is left to the letter.
    [("both", True), ("both", False), ("local", True), ("local", False), ("global", False)],
)
def test_layer(branch, normalize):
    inputs = choose(draw_inputs(), branch)
    padded = dict(inputs)
    if "local" in inputs:
        garbage = np.full_like(inputs["local"], 100.0)
        padded["local"] = np.concatenate([inputs["local"], garbage], axis=2)
        padding = np.full_like(inputs["segment_ids"], -1)
        padded["segment_ids"] = np.concatenate([inputs["segment_ids"], padding], axis=1)
    run_layer_test(
        SimilarityFusion,
        init_kwargs={"normalize": normalize},
        inputs={"inputs": inputs},
        expected_output_shape=(2, 4, 3),
        expected_num_weights=4,
        output_in_float32=True,
        padded_inputs={"inputs": padded},
    )


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize(
    "branch, balance",
    [("both", False), ("both", True), ("local", False), ("global", False), ("global", True)],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_equals_oracle(dtype, tolerance, branch, balance, normalize):
    inputs = choose(draw_inputs(dtype), branch)
    layer = SimilarityFusion(normalize, balance, dtype=dtype)
    layer(inputs)
    randomize(layer)
    scores = layer(inputs)
    assert scores.dtype == dtype and np.all(np.isfinite(scores))
    expected = np.array(scores)
    # The gate of a single normalized vector cancels: the layer has none, and any will do here.
    width = inputs["global" if branch == "global" else "local"].shape[-1]
    gate = affine(layer.gate) if layer.has_gates else Affine(np.ones((width, 1)), np.ones(1))
    for g, num_captions in enumerate((3, 2)):
        for b, t in np.ndindex(4, num_captions):
            vectors = []
            if "local" in inputs:
                vectors.extend(inputs["local"][g, b, inputs["segment_ids"][g] == t])
            if "global" in inputs:
                vectors.append(inputs["global"][g, b, t])
            # Alone, the global vector has nothing to be weighed against.
            weighed = balance and branch == "both"
            expected[g, b, t] = similarity_fusion(
                np.stack(vectors), gate, affine(layer.score), normalize, weighed
            )
    assert_close(scores, expected, tolerance)


@pytest.mark.parametrize("keys", [[], ["local"], ["segment_ids"], ["segment_ids", "global"]])
def test_incomplete_inputs(keys):
    inputs = draw_inputs()
    with pytest.raises(ValueError, match=r"`inputs` must have.*Received: inputs=\["):
        SimilarityFusion().build({key: inputs[key].shape for key in keys})
