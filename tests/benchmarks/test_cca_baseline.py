import numpy as np
import pytest

from hslm_tf.data import load_sample

pytest.importorskip("sklearn", reason="needs the extra `benchmarks`")

from benchmarks.cca_baseline import LinearCCA, Settings, baseline  # noqa: E402


def test_finds_a_shared_signal_and_its_correlation():
    from scipy.sparse import csr_matrix

    random = np.random.default_rng(0)
    signal = random.normal(size=20000)
    x = random.normal(size=(20000, 4)) + 5
    y = random.normal(size=(20000, 3))
    x[:, 2] += signal
    y[:, 1] += signal
    cca = LinearCCA.fit(x, csr_matrix(y), x_ridge=0.0, y_ridge=0.0)
    # Var(signal) / (sd(x2) sd(y1)) = 1 / 2.
    assert cca.correlations == pytest.approx([0.5, 0, 0], abs=0.03)
    assert abs(cca.x_weights[2, 0]) > 20 * abs(cca.x_weights[0, 0])


def test_reaches_the_yardstick_on_the_sample():
    reports = baseline(load_sample("train"), load_sample("test"), Settings())
    assert reports["cosine"].rsum == pytest.approx(358, abs=5)
    assert reports["weighted"].rsum == pytest.approx(384, abs=5)
