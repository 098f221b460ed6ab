import shlex
from pathlib import Path

import pytest

from benchmarks import sweep
from hslm_tf import train
from hslm_tf.presets import preset
from hslm_tf.run_directory import RunDirectory
from hslm_tf.table4 import TABLE_4


def test_list(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# comment\n\nplain:\nwide: --joint-dim 64 --dataset 'my data'\n")
    assert sweep.read_list(path) == {
        "plain": [],
        "wide": ["--joint-dim", "64", "--dataset", "my data"],
    }


@pytest.mark.parametrize("line", ["no colon", ": --seed 1", "a/b: --seed 1", "x: 'open"])
def test_broken_lists_name_the_line(line, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"x-1:\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: "):
        sweep.read_list(path)


def test_same_name_twice(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("x:\nx:\n")
    with pytest.raises(ValueError, match="line 2: expected a new name"):
        sweep.read_list(path)


def test_sweep_trains_writes_a_table_and_continues(run_flags, tmp_path, capsys, monkeypatch):
    path = tmp_path / "list.txt"
    path.write_text("short: --epochs 1\n")
    flags = f"--flags={shlex.join(run_flags)}"
    arguments = [str(path), "--out", str(tmp_path / "out"), flags]
    sweep.main(arguments)
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.splitlines()[2].startswith("| short | ")
    run = RunDirectory(tmp_path / "out" / "short-0")
    assert run.progress["epochs"] == 1
    assert f"{run.progress['best_rsum']:.1f}" in table
    monkeypatch.setattr(sweep, "train", None)
    sweep.main(arguments)
    assert (tmp_path / "out" / "table.md").read_text() == table


def test_the_diagnosis_is_a_list_of_configurations():
    path = Path(sweep.__file__).with_name("diagnosis.txt")
    configs = {
        name: train.parse(["--preset", "flickr8k", *flags]).config
        for name, flags in sweep.read_list(path).items()
    }
    assert configs["row-9"] == preset("flickr8k")
    assert len(set(map(repr, configs.values()))) == len(configs)
    for name, config in configs.items():
        row = TABLE_4[int(name.split("-")[1])]
        assert {part: getattr(config.model, part) for part in row.parts} == row.parts, name
