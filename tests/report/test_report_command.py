import csv
import importlib
import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.evaluation.protocols import evaluate_scores
from hslm_tf.report.failures_section import failures_section
from hslm_tf.report.html_report import write_report
from hslm_tf.report.query_results import query_results, rank_section, score_section
from hslm_tf.report.recall_section import recall_section, recalls_of
from hslm_tf.report.run_sections import learning_curves_section
from hslm_tf.runs import splits
from hslm_tf.runs.ablation import ablation_run, write_recall
from hslm_tf.runs.run_directory import RunDirectory
from tests.report.measured import dataset_of, measured_run, recall
from tests.report.pages import HOSTILE, check_page
from tests.tiny_run import run_with_other_weights, write_dataset

report = importlib.import_module("hslm_tf.report.__main__")

pytestmark = pytest.mark.usefixtures("loaded_once")

SECTIONS = ["recall", "configuration", "curves", "ranks", "scores", "failures"]
SECTIONS += ["examples", "word-correlation", "mgcn-layers"]


@pytest.fixture(scope="module")
def other_run(finished_run, tmp_path_factory):
    """The run again with other weights and another seed."""
    run = run_with_other_weights(finished_run, tmp_path_factory.mktemp("moved") / "other")
    text = run.config_file.read_text("utf-8")
    run.config_file.write_text(text.replace('"seed": 7', '"seed": 8'), "utf-8")
    return run


def report_on(*args):
    """Runs the command; returns the folder, after a look at its page."""
    out = args[args.index("--out") + 1]
    report.main([str(arg) for arg in args])
    page = check_page((out / "index.html").read_text("utf-8"), out)
    files = {file.name for file in out.iterdir()}
    assert files == {"index.html", "report.md"} | {link["href"] for link in links(page)}
    return page


def links(page):
    return [link for link in page.all("a") if link["href"].endswith(".csv")]


def rows_of(file):
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def cells(found):
    return [f"{value:.1f}" for value in (*recalls_of(found), found.rsum)]


def test_a_run(whole_run, tmp_path, capsys):
    out = tmp_path / "new" / "report"
    page = report_on(whole_run.path, "--out", out)
    assert f"Report: {out}/index.html" in capsys.readouterr().out
    anchors = [section["id"] for section in page.all("section")]
    assert anchors == [*SECTIONS, "files"]
    test = splits.load_split(whole_run.config(), "test")
    found = evaluate(keras.saving.load_model(whole_run.best_model), test)
    assert rows_of(out / "recall.csv")[1:] == [["whole", *cells(found)]]
    assert len(rows_of(out / "curves.csv")) == 1 + 1
    first = int(rows_of(out / "ranks.csv")[1][1])
    assert 100 * first / 12 == pytest.approx(found.i2t.r1)
    markdown = (out / "report.md").read_text("utf-8")
    assert markdown.startswith("# Report on whole\n")
    assert markdown.count("\n## ") == len(links(page))
    assert list(out.parent.iterdir()) == [out]


def test_several_runs(finished_run, other_run, tmp_path, monkeypatch):
    from hslm_tf.evaluation import scoring

    scored, matrix = [], scoring.score_matrix

    def counted(*args, **kwargs):
        scored.append(matrix(*args, **kwargs))
        return scored[-1]

    monkeypatch.setattr(scoring, "score_matrix", counted)
    out = tmp_path / "report"
    page = report_on(other_run.path, finished_run.path, "--out", out, "--failures", "3")
    # Every run is scored once; the first comes last.
    assert len(scored) == 2
    owners = np.repeat(np.arange(12), 5)
    second, first = (evaluate_scores(scores, owners) for scores in scored)
    rows = rows_of(out / "recall.csv")
    assert rows[1:3] == [["other", *cells(first)], ["finished", *cells(second)]]
    deviation = abs(first.rsum - second.rsum) / 2**0.5
    assert rows[3][-1] == f"{(first.rsum + second.rsum) / 2:.1f}±{deviation:.1f}"
    assert rows_of(out / "differences.csv") == [
        ["field", "other", "finished"],
        ["training.seed", "8", "7"],
    ]
    assert "Ranks, scores and failures are those of other." in page.text
    top = int(rows_of(out / "ranks.csv")[1][3])
    assert 100 * top / 60 == pytest.approx(first.t2i.r1)
    assert len(rows_of(out / "failures-t2i.csv")) == 1 + 3


def test_another_split_and_dataset_with_pictures(finished_run, tmp_path):
    data = write_dataset(tmp_path / "data", images=7, seed=5)
    (data / "dev_ids.txt").write_text("".join(f"{number}.jpg\n" for number in range(7)))
    pixels = tf.io.encode_jpeg(tf.zeros((50, 100, 3), tf.uint8))
    for number in range(7):
        tf.io.write_file(str(data / f"{number}.jpg"), pixels)
    args = ("--dataset", data, "--split", "dev", "--images", data, "--out", tmp_path / "report")
    page = report_on(finished_run.path, *args)
    assert "dev, 7 images, protocol all" in page.text
    assert page.all("img")


def test_hostile_captions_and_ids_do_nothing(whole_run, tmp_path):
    data = write_dataset(tmp_path / "data", images=4)
    captions = [text.replace("\n", " ") for text in HOSTILE] * 4
    (data / "test_caps.txt").write_text("\n".join(captions) + "\n", "utf-8")
    (data / "test_ids.txt").write_text("".join(f"{text}\n" for text in captions[:4]), "utf-8")
    np.save(data / "test_boxes.npy", np.tile(np.float32([0, 0, 1, 1]), (4, 6, 1)))
    out = tmp_path / "report"
    page = report_on(whole_run.path, "--dataset", data, "--out", out)
    assert page.text.count(captions[0]) > 3
    assert page.all("img") == []
    for line in (out / "report.md").read_text("utf-8").splitlines():
        assert not re.search(r"(?<!\\)[<`$]", line)


@pytest.fixture
def ablation(whole_run, tmp_path):
    """What `python -m hslm_tf.ablate` leaves: rows 11 and 12, and one that was stopped."""
    folder = tmp_path / "ablation"
    for row, seed, recalls in ((12, 0, (50, 60, 70, 40, 50, 60)), (11, 0, (10, 20, 30, 1, 2, 3))):
        run = ablation_run(folder, row, seed)
        shutil.copytree(whole_run.path, run.path)
        write_recall(run, recall(*recalls))
    config = json.loads(run.config_file.read_text("utf-8"))
    config["model"]["self_attention"] = False
    run.config_file.write_text(json.dumps(config), "utf-8")
    shutil.copytree(whole_run.path, ablation_run(folder, 12, 1).path)
    return folder


def test_an_ablation(ablation, tmp_path):
    out = tmp_path / "report"
    page = report_on(ablation, "--out", out)
    anchors = [section["id"] for section in page.all("section")]
    assert anchors == ["recall", "table4", *SECTIONS[1:], "files"]
    head, *rows = rows_of(out / "table4.csv")
    assert [(row[0], *row[-2:]) for row in rows] == [
        ("11", "66.0", "494.6"),
        ("12", "330.0", "497.8"),
    ]
    assert head[-1] == "paper, Flickr30K"
    assert ["self-attention adds", "1 of 1", "12 > 11: +264.0 (+3.2)"] in rows_of(
        out / "orderings.csv"
    )
    assert "Ranks, scores and failures are those of row-12-seed-0." in page.text
    assert [row[0] for row in rows_of(out / "recall.csv")[1:]] == ["row-11-seed-0", "row-12-seed-0"]


def fails(args):
    with pytest.raises(SystemExit) as stop:
        report.main([str(arg) for arg in args])
    assert stop.value.code.startswith("error: ") and "\n" not in stop.value.code
    return stop.value.code


def test_mistakes_are_one_error(finished_run, ablation, tmp_path, monkeypatch):
    from hslm_tf.evaluation import scoring

    monkeypatch.setattr(scoring, "score_matrix", lambda *args, **kwargs: pytest.fail("scored"))
    run, out = finished_run.path, tmp_path / "out"
    fresh, broken = tmp_path / "fresh", tmp_path / "broken"
    RunDirectory(fresh).write_config(finished_run.config())
    shutil.copytree(run, broken)
    (broken / "log.csv").write_text("epoch,loss\n0,much\n")
    for args, message in (
        ([], "name at least one run"),
        ([tmp_path / "nothing"], f"{tmp_path / 'nothing'} holds no run"),
        ([fresh], f"{fresh} has no model yet"),
        ([broken], "log.csv: not the log of a run"),
        ([run, "--failures", "0"], "--failures is 1 to 1000. Received: 0"),
        ([run, "--failures", "1001"], "--failures is 1 to 1000. Received: 1001"),
        ([run, "--images", tmp_path / "no"], "there is no such folder"),
        ([run, "--split", "val"], "holds no region features of the split 'val'"),
        ([run, "--protocol", "1k"], "'1k' is defined on 1000 images"),
        ([ablation, "--split", "dev"], "is an ablation, whose runs have been measured"),
        ([ablation, run], f"{ablation} holds no run"),
    ):
        assert message in fails([*args, "--out", out]), args
    assert not out.exists()


@pytest.mark.parametrize("occupied", ["folder", "file"])
def test_what_is_there_is_not_destroyed(occupied, finished_run, tmp_path):
    out = tmp_path / "mine"
    if occupied == "folder":
        out.mkdir()
    kept = out / "index.html" if occupied == "folder" else out
    kept.write_text("mine")
    message = fails([finished_run.path, "--out", out])
    assert "mine exists and is not an empty folder: choose another --out" in message
    assert kept.read_text() == "mine"
    # Nor if it came while the report was being made.
    with pytest.raises(OSError):
        write_report(out, "title", [], [])
    assert kept.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_one_line(package, finished_run, tmp_path):
    script = f"""
import sys
sys.modules[{package!r}] = None
from hslm_tf.report.__main__ import main
main([{str(finished_run.path)!r}, "--out", {str(tmp_path / "out")!r}])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"error: {package} is not installed: pip install hslm-tf[report]\n"


def test_the_extra_is_needed_by_nothing_else():
    script = """
import sys
sys.modules["jinja2"] = sys.modules["markupsafe"] = sys.modules["matplotlib"] = None
import hslm_tf.report.__main__, hslm_tf.report.html_report
assert "tensorflow" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_thousand_failures_of_five_thousand_captions(tmp_path):
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(1000), 5)
    scores = rng.normal(size=(1000, 5000)).astype(np.float32)
    captions = [f"caption {number} of a photograph " * 4 for number in range(5000)]
    run = measured_run(log={"epoch": np.arange(40.0), "loss": rng.random(40)})
    dataset, results = dataset_of(1000, captions), query_results(scores, owners)
    sections = [
        learning_curves_section([run]),
        recall_section([run], dataset, "all"),
        rank_section(results),
        score_section(results),
        failures_section(results, dataset, 1000, None),
    ]
    write_report(tmp_path / "report", "title", [], sections)
    assert np.count_nonzero(scores.argmax(axis=0) != owners) > 1000
    page = check_page((tmp_path / "report/index.html").read_text("utf-8"), tmp_path / "report")
    assert len(page.all("tr")) > 2 * 990
    assert (tmp_path / "report/index.html").stat().st_size < 20e6
    assert len(rows_of(tmp_path / "report/failures-t2i.csv")) == 1001
