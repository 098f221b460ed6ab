import json

import pytest

from benchmarks import search_latency


def test_every_measurement_has_a_row(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    arguments = ["--preset", "sample", "--items", "30", "50", "--pool", "20", "--queries", "2"]
    search_latency.main([*arguments, "--exhaustive", "1", "--candidates", "12", "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    several = [row for row in rows if row["direction"].startswith("32 captions")]
    assert [(row["items"], row["index"]) for row in several] == [
        (30, "brute-force"),
        (50, "brute-force"),
    ]
    encoding = rows[-1]
    assert encoding["direction"] == "encoding of 32 captions"
    for row in (*several, encoding):
        assert row["captions_per_s"] == 32_000 / row["p50_ms"]
    single = [row for row in rows[:-1] if row not in several]
    assert [(row["items"], row["index"], row["direction"]) for row in single] == [
        (items, index, direction)
        for items in (30, 50)
        for index in ("brute-force", "none: exhaustive")
        for direction in ("caption to images", "image to captions")
    ]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows)
    # A float32 vector of 256 numbers and 36 flags; 36 x 256 local and 256 global ones in float16.
    assert rows[0]["memory_an_image"] == 4 * 256 + 36
    assert rows[0]["disk_an_image"] == 2 * 37 * 256
    assert "p99 ms" in capsys.readouterr().out


@pytest.mark.slow
def test_an_exported_model_is_asked_too(tmp_path):
    out = tmp_path / "rows.jsonl"
    arguments = ["--preset", "sample", "--items", "20", "--pool", "20", "--queries", "1"]
    search_latency.main([*arguments, "--exhaustive", "0", "--exported", "--out", str(out)])
    *_, row, _ = (json.loads(line) for line in out.read_text().splitlines())
    assert (row["index"], row["direction"]) == ("exported", "caption to images")
    assert row["p50_ms"] > 0
