import numpy as np

from hslm_tf.evaluation.evaluation_state import EvaluationState
from tests.mutants import mutants


def test_mutants_of_a_state_are_ignored_or_right(tmp_path):
    """A damaged state begins the evaluation anew; it never ends it, and no number is another."""
    state = EvaluationState(tmp_path / "state.npz", {"weights": "1"}, interval=0.0)
    ranks = np.arange(40, dtype=np.int32)
    state.save({"ranks": ranks, "captions": np.array(7)})
    content = state.path.read_bytes()
    read = 0
    for mutant in mutants(content, 300):
        state.path.write_bytes(mutant)
        if found := state.load():
            read += 1
            np.testing.assert_array_equal(found["ranks"], ranks)
            assert found["captions"] == 7
    assert read < 100
    state.path.write_bytes(content)
    np.testing.assert_array_equal(state.load()["ranks"], ranks)
