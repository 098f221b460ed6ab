import json
import subprocess
from types import SimpleNamespace

from benchmarks import performance


def test_queries_are_a_part_with_a_gate(monkeypatch, capsys):
    """What the command prints is read from the lines of its standard output."""
    lines = [
        json.dumps({"items": items, "direction": direction, "p50_ms": 31.25})
        for items in (1000, 31000)
        for direction in ("caption to images", "image to captions")
    ]
    asked, tables = [], []

    def run(command, **_):
        asked.append(command)
        return SimpleNamespace(stdout="\n".join(["a table", *lines]))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(performance.rich, "print", tables.append)
    performance.main(["--only", "query"])
    (command,) = asked
    assert "benchmarks.search_latency" in command and "/dev/stdout" in command
    what, value, aim, *_ = (list(column.cells) for column in tables[0].columns)
    assert what[0] == "caption to images, 1,000 items" and len(what) == 4
    assert value[0] == "31.2 ms"
    assert aim == ["<= 32 ms", "", "<= 32 ms", ""]
    assert capsys.readouterr().out.count("p50_ms") == 4


def test_rows_of_a_step_and_of_scores():
    ceilings = {"ratio": 0.5, "ceiling_before": 200, "ceiling_after": 210, "peak_memory_gb": 2}
    cpu, gpu = ({**ceilings, "gpu_memory_gb": memory} for memory in (None, 9))
    step = {"loss": "triplet", "batch_size": 128, "precision": "float32", "step_s": 0.015}
    assert performance.step_rows({**cpu, **step}) == [
        ("triplet step of 128, float32", "15.0 ms", "ratio 0.75", "0.50", "200, 210"),
        ("triplet step of 128, float32, memory", "2.00 GB", "<= 2.5 GB"),
    ]
    scores = {"images": 5000, "captions": 25000, "precision": "float32", "pairs_per_s": 15000}
    scores |= {"captions_scored": 512, "total_s": 9000}
    assert performance.score_rows({**gpu, **scores}) == [
        ("5,000 x 25,000 exact scores, float32", "15,000 pairs/s", "", "0.50", "200, 210"),
        ("5,000 x 25,000 exact scores, float32, time, projected", "2.50 h"),
        ("5,000 x 25,000 exact scores, float32, memory", "2.00 GB, GPU 9.00 GB", "< 3 GB"),
    ]
