import dataclasses
import shlex
from pathlib import Path

import pytest

from benchmarks import sweep
from hslm_tf import train
from hslm_tf.presets import ABLATION_PARTS, preset
from hslm_tf.runs.run_directory import RunDirectory


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_list(tmp_path, encoding):
    path = tmp_path / "list.txt"
    text = "plain:\n\n# comment\nwide: --joint-dim 64 --dataset 'my data'\n"
    path.write_text(text, encoding)
    wide = ["--joint-dim", "64", "--dataset", "my data"]
    assert sweep.read_list(path) == {"plain": [], "wide": wide}


@pytest.mark.parametrize("line", ["no colon", ": --seed 1", "a/b: --seed 1", "x: 'open", "x-1:"])
def test_broken_lists_name_the_line(line, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"x-1:\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: "):
        sweep.read_list(path)


@pytest.mark.slow
def test_sweep_trains_writes_a_table_and_continues(run_flags, tmp_path, monkeypatch):
    path, out = tmp_path / "list.txt", tmp_path / "out"
    path.write_text("broken: --word-vectors nothing.txt\nshort: --epochs 1\n")
    arguments = [str(path), "--out", str(out), f"--flags={shlex.join(run_flags)}"]
    # As if the first run had been killed in its first epoch.
    run = RunDirectory(out / "short-0")
    config = train.parse([*run_flags, "--epochs", "1", "--seed", "0"]).config
    run.write_config(config.with_absolute_paths())
    with pytest.raises(SystemExit, match="1 runs failed: broken"):
        sweep.main(arguments)
    assert "nothing.txt" in (out / "broken-0" / "output.txt").read_text()
    table = (out / "table.md").read_text()
    assert len(table.splitlines()) == 3 and table.splitlines()[2].startswith("| short | ")
    assert run.progress["epochs"] == 1
    assert f"| {run.progress['best_rsum']:.1f} |" in table and "(1) |" in table

    path.write_text("short: --epochs 1\n")
    monkeypatch.setattr(sweep.subprocess, "run", None)
    sweep.main(arguments)
    assert (out / "table.md").read_text() == table
    path.write_text("short: --epochs 2\n")
    with pytest.raises(SystemExit, match="short-0 holds a run with other flags"):
        sweep.main(arguments)


def test_mistakes_end_a_sweep_before_it_begins(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("right: --epochs 1\nwrong: --no-such-flag 1\n")
    with pytest.raises(SystemExit):
        sweep.main([str(path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="--seeds must be at least 1. Received: 0"):
        sweep.main([str(path), "--out", str(tmp_path / "out"), "--seeds", "0"])
    assert not (tmp_path / "out").exists()


def test_the_diagnosis_is_a_list_of_configurations():
    path = Path(sweep.__file__).with_name("diagnosis.txt")
    configs = {
        name: train.parse(["--preset", "flickr8k", *flags]).config
        for name, flags in sweep.read_list(path).items()
    }
    assert configs["row-9"] == preset("flickr8k")
    assert len(set(map(repr, configs.values()))) == len(configs)
    for name, config in configs.items():
        parts = ABLATION_PARTS[int(name.split("-")[1])]
        assert dataclasses.replace(config.model, **parts) == config.model, name
