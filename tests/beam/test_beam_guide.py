"""The commands and the code of docs/beam.md."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tests.beam.conftest import IMAGES

GUIDE = (Path(__file__).parents[2] / "docs" / "beam.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "sh"
    for line in block.replace("\\\n", " ").splitlines()
]
WITH_OPTIONS = [command[command.index("--") + 1 :] for command in COMMANDS if "--" in command]


def test_options_of_all_runners_are_shown():
    runners = {flags[flags.index("--runner") + 1] for flags in WITH_OPTIONS if "--runner" in flags}
    assert runners == {"FlinkRunner", "SparkRunner", "DataflowRunner"}


@pytest.mark.parametrize("flags", WITH_OPTIONS, ids=" ".join)
def test_beam_knows_the_options(flags):
    options = PipelineOptions(flags)
    known = options.get_all_options()
    assert options.get_all_options(retain_unknown_options=True).keys() == known.keys()
    names = [flag.removeprefix("--") for flag in flags if flag.startswith("--")]
    assert len(flags) == 2 * len(names)
    for name, value in zip(names, flags[1::2], strict=True):
        assert str(known[name]) == value, name


def test_the_pipelines_run(small, folder, tmp_path, capfd):
    (code,) = (block for language, block in BLOCKS if language == "python")
    code = code.replace("served/hslm/1", str(small.path)).replace('"photos"', repr(str(folder)))
    code = code.replace("gs://bucket/shards", str(tmp_path)).replace("31_783", str(IMAGES))
    regions = np.load(folder / "mine_ims.npy")
    regions[3] = np.nan
    np.save(folder / "mine_ims.npy", regions)
    given = {"region_features": regions[:2], "num_regions": np.array([5, 5], np.int32)}
    exec(compile(code, "docs/beam.md", "exec"), given)
    assert "Rejected(row=3, id='bild-3-ü'" in capfd.readouterr().out
    assert [path.name for path in tmp_path.glob("*.npz")] == ["shard-00000-of-00001.npz"]
