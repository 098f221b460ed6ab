import numpy as np
import pytest

from hslm_tf.checks.column_statistics import ColumnStatistics


def statistics_of(rows, sizes):
    statistics = ColumnStatistics(rows.shape[1])
    for piece in np.split(rows, np.cumsum(sizes)):
        statistics.add(piece)
    return statistics


@pytest.mark.parametrize("sizes", [(), (1, 1, 7), (40, 0, 30)])
def test_pieces_give_what_the_whole_gives(sizes):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 5)) * [1, 1e-3, 10, 1, 1] + [0, 1e4, 0, 3, 0]
    rows[:, 3] = 3
    rows[::4, 4] = 0
    rows = rows.astype(np.float32)
    found, exact = statistics_of(rows, sizes), rows.astype(np.float64)
    np.testing.assert_array_equal(found.smallest, exact.min(axis=0))
    np.testing.assert_array_equal(found.largest, exact.max(axis=0))
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.deviation, exact.std(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found.zeros, [0, 0, 0, 0, 0.25])
    assert found.constant.tolist() == [3]
    assert found.by_magnitude.tolist()[:2] == [1, 2]
    overall = found.overall()
    assert (overall["smallest"], overall["largest"]) == (exact.min(), exact.max())
    assert overall["zeros"] == pytest.approx(0.05)
    assert overall["mean"] == pytest.approx(exact.mean(), rel=1e-12)
    assert overall["deviation"] == pytest.approx(exact.std(), rel=1e-12)


def test_values_that_are_not_finite_do_not_count():
    rows = np.array([[1, np.nan, np.inf], [3, 5, -np.inf], [np.nan, 7, np.nan]], np.float32)
    for sizes in ((), (1, 1)):
        found = statistics_of(rows, sizes)
        assert found.count.tolist() == [2, 2, 0]
        assert found.mean[:2].tolist() == [2, 6] and found.deviation[:2].tolist() == [1, 1]
        assert np.isnan([found.mean[2], found.smallest[2], found.deviation[2]]).all()
        assert found.constant.tolist() == []
        assert found.by_magnitude.tolist() == [1, 0, 2]
        assert found.overall()["largest"] == 7 and found.overall()["mean"] == 4


def test_nothing_at_all():
    found = ColumnStatistics(2)
    assert set(found.overall().values()) == {None}
