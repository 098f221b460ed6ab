import json

import numpy as np

from benchmarks import serving_load
from benchmarks.serving_requests import bad_rows


def test_every_request_is_answered_rightly(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    serving_load.main(["--preset", "sample", "--requests", "28", "--out", str(out)])
    *kinds, everything = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["kind"] for row in kinds} == {"good", "wrong width", *bad_rows(64)}
    assert all(row["answered_rightly"] == row["sent"] > 0 for row in kinds)
    assert everything["sent"] == 28 and everything["server_alive"]
    assert "answered rightly" in capsys.readouterr().out


class _Client:
    def __init__(self, answer):
        self._answer = answer

    def score(self, **request):
        return self._answer


def test_a_wrong_answer_is_counted_as_one():
    asker = object.__new__(serving_load._Asker)
    expected = np.array([0.5, 0.25])
    for answer, right in (([0.5, 0.25], True), ([0.5, 0.2501], False), ([0.5, np.nan], False)):
        asker._client = _Client(np.array(answer))
        assert asker._is_right({}, "good", expected) == right
        # A bad row must not get a score.
        assert not asker._is_right({}, "NaN", expected)
