import dataclasses
import json

import pytest
from rich.console import Console

from hslm_tf import ablate
from hslm_tf.evaluation.ranks import DirectionReport, RecallReport
from hslm_tf.presets import ABLATION_PARTS, preset
from hslm_tf.report.ablation_section import ablation_table, ordering_table
from hslm_tf.report.published import ORDERINGS, TABLE_4
from hslm_tf.runs import ablation, experiment
from hslm_tf.runs.ablation import read_recall
from hslm_tf.runs.run_directory import RunDirectory


def report(rsum: float) -> RecallReport:
    side = DirectionReport(*(rsum / 6,) * 3, median_rank=1.0, mean_rank=1.0)
    return RecallReport(side, side)


def test_table4_adds_up():
    # The paper's own sum of row 2 is off by 1.7.
    for row, found in TABLE_4.items():
        error = 1.7 if row == 2 else 0.0
        assert found.rsum == pytest.approx(sum(found.recalls) - error, abs=0.15), row


def test_orderings_hold_in_the_paper_and_compare_what_they_claim():
    parts = {"self-attention adds": "self_attention", "MGCN adds": "mgcn"}
    for claim, pairs in ORDERINGS:
        for better, worse in pairs:
            assert TABLE_4[better].rsum > TABLE_4[worse].rsum, claim
            if claim in parts:
                without = ABLATION_PARTS[better] | {parts[claim]: False}
                assert ABLATION_PARTS[better] != without == ABLATION_PARTS[worse]


@pytest.mark.parametrize(
    ("text", "rows"),
    [("1-12", list(range(1, 13))), ("5", [5]), ("9, 1,9-10", [1, 9, 10])],
)
def test_rows(text, rows):
    assert ablate.parse_rows(text) == rows


@pytest.mark.parametrize(
    "text", ["", "0", "13", "1-13", "1,3-1", "1-99999999999", "a", "1-", "3-1", "-2"]
)
def test_rows_that_are_not_there(text):
    with pytest.raises(ValueError, match="--rows takes"):
        ablate.parse_rows(text)


@pytest.mark.parametrize("given, on", [("global", "score"), ("score", "score"), ("parts", "parts")])
def test_rows_differ_in_their_parts_and_nothing_else(given, on):
    config = preset("flickr8k")
    config = dataclasses.replace(
        config, training=dataclasses.replace(config.training, seed=7, contrastive_on=given)
    )
    for row, parts in ABLATION_PARTS.items():
        run = ablation.row_config(config, row, seed=2)
        assert dataclasses.replace(config.model, **parts) == run.model
        # Rows without global vectors could not learn on these alone.
        assert run.training == dataclasses.replace(config.training, seed=9, contrastive_on=on)


def test_tables_set_ours_beside_the_papers():
    def printed(table):
        console = Console(width=400)
        with console.capture() as capture:
            console.print(table.rich())
        return capture.get()

    reports = {1: [report(200), report(204)], 9: [report(230), report(231)], 11: [report(229)] * 2}
    table = printed(ablation_table(reports, "title"))
    assert "202.0±2.8" in table and "431.0" in table
    orderings = printed(ordering_table(reports))
    assert "11 > 9: -1.5 (+10.0)" in orderings
    assert "9 > 1: +28.5 (+53.6)" in orderings
    # Two seeds far apart: the difference of their means says little.
    unsure = {1: [report(200), report(260)], 9: [report(220), report(250)]}
    assert "9 > 1: +5.0~ (+53.6)" in printed(ordering_table(unsure))
    assert "global adds" not in printed(ordering_table({1: [report(200)]}))


def test_command_trains_rows_and_continues(run_flags, tmp_path, capsys, monkeypatch):
    flags = [*run_flags, "--preset", "sample", "--epochs", "1", "--out", str(tmp_path)]
    ablate.main([*flags, "--rows", "1,9"])
    table = capsys.readouterr().out
    assert "Row 9, seed 0" in table and "cross-attention and local add to global" in table
    for row in (1, 9):
        run = RunDirectory(tmp_path / f"row-{row}-seed-0")
        parts = {name: getattr(run.config().model, name) for name in ABLATION_PARTS[row]}
        assert parts == ABLATION_PARTS[row]
        assert run.progress["epochs"] == 1
        assert read_recall(run).rsum > 0
        [session] = json.loads(run.provenance_file.read_text("utf-8"))["sessions"]
        assert session["data"]["measured"]["split"] == "test"
    # What is done is read, not trained again.
    monkeypatch.setattr(experiment, "train", None)
    ablate.main([*flags, "--rows", "1,9"])
    lines = [line for line in table.splitlines() if not line.startswith("Epoch ")]
    assert capsys.readouterr().out.splitlines() == lines
    with pytest.raises(SystemExit, match="row-1-seed-0 holds a run with another configuration"):
        ablate.main([*flags, "--rows", "1", "--margin", "0.3"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rows", "14"], "--rows takes rows of Table 4, 1 to 12. Received: 14"),
        (["--seeds", "0"], "--seeds must be at least 1. Received: 0"),
        (["--preset", "nothing"], "There is no such preset"),
    ],
)
def test_mistakes_are_named_at_once(flags, message):
    with pytest.raises(SystemExit, match=message):
        ablate.main(flags)
