"""`python -m hslm_tf.beam`, beside `python -m hslm_tf.index` on the same data."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

# First imported within a test, it would close what pytest has in place of standard error.
import pymilvus
import pytest

from hslm_tf import index, search
from hslm_tf.beam import __main__ as command
from hslm_tf.beam.files import read_shard
from hslm_tf.data.atomic_write import locked
from hslm_tf.runs.opening import open_collection
from tests.beam.bucket import address

pytestmark = pytest.mark.usefixtures("loaded_once")

HEADS = "--steps 3 --dim 8 --concepts 8 --images-a-step 6 --captions-a-step 12".split()
QUERIES = ["A photo of thing3 here.", "A photo of thing7 in the old town."]


@pytest.fixture(scope="module")
def run(finished_run, tmp_path_factory) -> Path:
    """The finished run with heads."""
    run = tmp_path_factory.mktemp("beam") / "run"
    shutil.copytree(finished_run.path, run)
    index.main([str(run), *HEADS])
    return run


def answers(args, capsys):
    capsys.readouterr()
    search.main([*map(str, args), "--json"])
    return json.loads(capsys.readouterr().out)


def assert_same_answers(found, expected):
    def without_scores(rows):
        return [(row["query"], [{**hit, "score": 0} for hit in row["answers"]]) for row in rows]

    assert without_scores(found) == without_scores(expected)
    scores = [
        [hit["score"] for row in rows for hit in row["answers"]] for rows in (found, expected)
    ]
    np.testing.assert_allclose(*scores, atol=1e-6)


def fails(args, match):
    with pytest.raises(SystemExit) as stop:
        command.main([str(arg) for arg in args])
    assert str(stop.value.code).startswith("error: ") and "\n" not in stop.value.code
    assert match in stop.value.code


def test_answers_are_those_of_index(run, tmp_path, capsys):
    """Images for captions and captions for images; vectors in Milvus, found there by a search."""
    expected, out, milvus = tmp_path / "index.h5", tmp_path / "out", tmp_path / "a.db"
    index.main(["collection", str(run), "--out", str(expected), "--dtype", "float32"])
    flags = ["--shard-size", "5", "--dtype", "float32", "--milvus", str(milvus)]
    command.main([str(run), "--out", str(out), *flags])
    assert "12 images encoded, 0 rejected" in capsys.readouterr().out
    assert (out / "rejected.jsonl").read_text() == ""
    found = out / "collection.h5"
    for subcommand, queries in (("by-caption", QUERIES), ("by-image", ["5", "11"])):
        query = [*queries, "-k", "7", "--num-candidates", "7"]
        wanted = answers([subcommand, expected, *query], capsys)
        assert_same_answers(answers([subcommand, found, *query], capsys), wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pymilvus.MilvusClient, "upsert", lambda *args: pytest.fail("sent again"))
        by_milvus = answers([found, *QUERIES, "--backend", "milvus", "--uri", milvus], capsys)
    assert_same_answers(by_milvus, answers([expected, *QUERIES], capsys))
    one, other = (open_collection(path).encoded for path in (found, expected))
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)
    np.testing.assert_allclose(one.images.regions[:], other.images.regions[:], atol=1e-6)


def test_captions_of_rejected_images_are_left_out(run, dataset_folder, tmp_path, capsys):
    folder = shutil.copytree(dataset_folder, tmp_path / "data")
    regions = np.load(folder / "test_ims.npy")
    regions[3, 0, 0] = np.nan
    np.save(folder / "test_ims.npy", regions)
    command.main([str(run), "--out", str(tmp_path / "out"), "--dataset", str(folder)])
    assert "11 images encoded, 1 rejected" in capsys.readouterr().out
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 3
    collection = open_collection(tmp_path / "out" / "collection.h5")
    assert collection.ids == [str(row) for row in range(12) if row != 3]
    images = [collection.ids[row] for row in collection.encoded.caption_to_image]
    things = [caption.split()[3].removeprefix("thing") for caption in collection.captions]
    assert things == images and len(things) == 55


def test_the_folder_may_be_an_address(run, tmp_path):
    out, collection = address(tmp_path / "out"), tmp_path / "a.h5"
    fails([run, "--out", out], "--collection FILE.h5 says where the collection goes")
    command.main([str(run), "--out", out, "--collection", str(collection), "--shard-size", "5"])
    assert open_collection(collection).ids == [str(row) for row in range(12)]


@pytest.mark.slow
def test_further_processes_make_what_is_missing(run, tmp_path, capsys):
    arguments = [str(run), "--out", str(tmp_path), "--shards-only", "--shard-size", "5"]
    command.main(arguments)
    shard = tmp_path / "shards" / "shard-00000-of-00003.npz"
    expected = read_shard(str(shard), ["ids", "regions"])
    shard.unlink()
    beam = "-- --direct_num_workers 2 --direct_running_mode multi_processing".split()
    command.main([*arguments, *beam])
    assert "3 shards, 1 of them new" in capsys.readouterr().out
    found = read_shard(str(shard), ["ids", "regions"])
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_allclose(found["regions"], expected["regions"], atol=1e-3)


def test_one_run_at_a_time_works_in_a_folder(run, tmp_path):
    with locked(tmp_path, "taken"):
        fails([run, "--out", tmp_path, "--shards-only"], f"{tmp_path}: another process works in it")
    assert not list(tmp_path.iterdir())


def test_a_killed_run_continues_where_it_was(run, tmp_path, capsys):
    """Killed half way without warning; then the same command, and the same result."""
    data = tmp_path / "data"
    data.mkdir()
    images = 450
    np.save(
        data / "many_ims.npy", np.random.default_rng(0).normal(size=(images, 6, 8)).astype("f4")
    )
    np.save(data / "many_num_regions.npy", np.arange(images) % 6 + 1)

    def arguments(out: Path) -> list[str]:
        flags = ["--dataset", str(data), "--split", "many", "--shard-size", "5"]
        return [str(run), "--out", str(out), *flags, "--dtype", "float32"]

    def finished(out: Path) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (out / "shards").glob("shard-*.npz")}

    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "hslm_tf.beam", *arguments(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(finished(killed)) < 20:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = finished(killed)
    assert 20 <= len(before) < 90 and not (killed / "collection.h5").exists()
    (killed / "shards" / "draft-0-shard-00089-of-00090.npz").write_bytes(b"half")

    command.main(arguments(killed))
    assert f"90 shards, {90 - len(before)} of them new" in capsys.readouterr().out
    after = finished(killed)
    assert {name: after[name] for name in before} == before
    assert len(os.listdir(killed / "shards")) == 90
    straight = tmp_path / "straight"
    command.main(arguments(straight))
    one, other = (open_collection(out / "collection.h5").encoded for out in (killed, straight))
    assert one.ids == other.ids == [str(row) for row in range(images)]
    np.testing.assert_array_equal(one.images.region_mask, other.images.region_mask)
    np.testing.assert_allclose(one.images.regions[:], other.images.regions[:], atol=1e-6)
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", "{tmp}/out", "--shard-size", "0"], "--shard-size is at least 1"),
        (["--out", "{tmp}/out", "--split", "none"], "none"),
        (["--out", "{tmp}/out", "--images", "{tmp}/none"], "there is no such folder"),
        (["--out", "{tmp}/out", "--collection", "{tmp}/none/a.h5"], "there is no such folder"),
        (["--out", "{tmp}", "--collection", "{tmp}/there.h5"], "--overwrite replaces it"),
        (["--out", "{tmp}/out", "--shards-only", "--milvus", "a.db"], "not for --shards-only"),
        (["--out", "{tmp}/[out]", "--shards-only"], "A folder to work in has none of"),
        (["--out", "{tmp}/out", "--", "--direct_num_walkers", "2"], "Beam has no option"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, flags, message):
    (tmp_path / "there.h5").write_bytes(b"")
    fails([run, *(flag.format(tmp=tmp_path) for flag in flags)], message)
    assert sorted(os.listdir(tmp_path)) in (["there.h5"], ["out", "there.h5"])
    assert not (tmp_path / "out" / "plan.json").exists()


@pytest.mark.parametrize(
    ("module", "flags", "extra"),
    [("apache_beam", [], "beam"), ("pymilvus", ["--milvus", "a.db"], "milvus")],
)
def test_a_missing_extra_is_one_line(run, tmp_path, monkeypatch, module, flags, extra):
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "out"
    fails([run, "--out", out, *flags], f"{module} is not installed: pip install hslm-tf[{extra}]")
    assert not out.exists()


def test_help_loads_neither_tensorflow_nor_beam():
    script = """
import sys
from hslm_tf.beam import __main__ as command
try:
    command.main(["split", "--help"])
except SystemExit as end:
    assert end.code == 0
assert not {"tensorflow", "apache_beam"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--shard-size" in done.stdout
