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
