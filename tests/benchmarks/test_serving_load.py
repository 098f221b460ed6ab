import json

import numpy as np
import pytest

from benchmarks import serving_load
from benchmarks.serving_load import Answer, Case, is_right, most_at_once
from benchmarks.serving_requests import bad_rows
from hslm_tf.serving.status import Status


def test_every_request_is_answered_rightly(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    serving_load.main(["--preset", "sample", "--requests", "28", "--out", str(out)])
    *kinds, everything = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["kind"] for row in kinds} == {"good", "wrong width", *bad_rows(64)}
    assert all(row["answered_rightly"] == row["sent"] > 0 for row in kinds)
    assert everything["sent"] == 28 and everything["answers_afterwards"]
    assert 1 <= everything["most_at_once"] <= 28
    assert "answered rightly" in capsys.readouterr().out


SCORES = np.array([0.5, 0.25])
GOOD = Case("good", b"", SCORES, Status.OK)
BAD = Case("NaN", b"", SCORES, Status.NOT_FINITE)
REFUSED = Case("wrong width", b"", SCORES, None)


@pytest.mark.parametrize(
    ("case", "code", "scores", "statuses", "right"),
    [
        (GOOD, 200, [0.5, 0.25], [0, 0], True),
        (GOOD, 200, [0.5, 0.2501], [0, 0], False),
        (GOOD, 200, [0.5, np.nan], [0, 0], False),
        (GOOD, 200, [0.5, 0.25], [0, 1], False),
        (GOOD, 400, None, None, False),
        (BAD, 200, [0.5, np.nan], [0, 1], True),
        (BAD, 200, [0.5, 0.25], [0, 1], False),
        (BAD, 200, [0.4, np.nan], [0, 1], False),
        (BAD, 200, [0.5, np.nan], [0, 2], False),
        (REFUSED, 400, None, None, True),
        (REFUSED, 200, [0.5, 0.25], [0, 0], False),
        (REFUSED, 500, None, None, False),
    ],
)
def test_right_and_wrong_answers(case, code, scores, statuses, right):
    outputs = {"outputs": {"score": scores, "status": statuses}}
    body = {"error": "Shape of tensor region_features"} if scores is None else outputs
    assert is_right(case, Answer(code, body, 0, 1)) == right


def test_requests_at_once_are_counted():
    times = [(0, 3), (1, 2), (1.5, 4), (3.5, 5)]
    assert most_at_once([Answer(200, {}, *pair) for pair in times]) == 3
