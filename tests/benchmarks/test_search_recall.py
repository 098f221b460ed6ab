import json

import numpy as np
import pytest

from benchmarks import search_recall


def test_candidates_are_measured_as_counted_by_hand():
    scores = np.array([[9.0, 8, 1, 2], [1, 2, 3, 4]])
    products = np.array([[3.0, 9, 5, 4], [1, 2, 3, 4]])
    # The best item of the first query is last among its candidates, that of the second is first.
    row = search_recall.candidates_row(scores, products, 1)
    assert row["top1"] == 50 and row["top10"] == 25
    assert row["needed_top1"] == 4 and row["needed_top10"] == 4
    right = {(0, 0), (1, 3)}
    for size, found in ((1, 50), (3, 50), (4, 100), (9, 100)):
        assert found == search_recall.recall_at_1(
            scores, products, size, lambda query, item: (query, item) in right
        )


@pytest.mark.parametrize(("percentage", "size"), [(99, 100), (97, 98), (50, 51), (100, 101)])
def test_smallest_size(percentage, size):
    places = np.random.default_rng(0).permutation(100) + 1
    assert search_recall.smallest_size(places, percentage) == size


def test_recall_of_a_run(whole_run, tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    arguments = [str(whole_run.path), "--candidates", "60", "--out", str(out)]
    arguments += ["--scores", str(tmp_path / "scores.npy")]
    search_recall.main(arguments)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["items"] for row in rows] == [12, 60]
    assert all(row["top1"] == row["top10"] == 100 for row in rows)
    assert all(row["r1"] == row["r1_candidates"] for row in rows)
    assert np.load(tmp_path / "scores.npy").shape == (12, 60)
    assert "top10" in capsys.readouterr().out
