import json

import pytest

pytest.importorskip("apache_beam", reason="the extra beam is not installed")

from benchmarks import beam_throughput


@pytest.mark.slow
def test_every_way_has_a_row(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    arguments = ["--preset", "sample", "--images", "70", "--shard-size", "20", "--dim", "8"]
    arguments += ["--workers", "1", "--folder", str(tmp_path), "--out", str(out)]
    beam_throughput.main(arguments)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["what"], row["images"]) for row in rows] == [
        ("encode, without Beam", 50),
        ("encode, Beam, 1 process", 50),
        ("collection of the shards", 70),
    ]
    assert all(row["images_a_second"] > 0 for row in rows)
    # Local features in float16 and a vector of 8 numbers in float32, at least.
    assert rows[2]["shard_bytes_an_image"] > 2 * 36 * 256
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert "images a second" in " ".join(capsys.readouterr().out.split())


def test_too_few_images_are_refused():
    with pytest.raises(SystemExit, match="^error: --images has to be more than a shard"):
        beam_throughput.main(["--images", "500"])
