import dataclasses
import math

import numpy as np
import pytest

from hslm_tf.report.run_sections import (
    configuration_section,
    learning_curves_section,
    read_log,
)
from tests.report.measured import measured_run
from tests.report.pages import HOSTILE, Page

LOG = (
    "epoch,candidate_fraction,gradient_norm,learning_rate,loss,val_i2t_r1,val_rsum\n"
    "0,0.0,12000.0,0.001,2.5,nan,nan\n"
    "1,0.5,2.0,0.001,1.5,20.0,210.0\n"
    "2,1.0,1.0,0.0001,1.25,NA,\n"
    "3,1.0,1.5,0.0001,1.0,19.0,205.5\n"
)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    return read_log(tmp_path / "log.csv")


def test_a_log_is_read_with_its_gaps(log):
    np.testing.assert_array_equal(log["loss"], [2.5, 1.5, 1.25, 1.0])
    np.testing.assert_array_equal(log["val_rsum"], [math.nan, 210, math.nan, 205.5])
    np.testing.assert_array_equal(log["val_i2t_r1"], [math.nan, 20, math.nan, 19])


@pytest.mark.parametrize(("text", "epochs"), [("", None), ("epoch,loss\n", 0), ("epoch\n3\n", 1)])
def test_short_logs(text, epochs, tmp_path):
    (tmp_path / "log.csv").write_text(text)
    found = read_log(tmp_path / "log.csv")
    assert epochs is None if not found else len(found["epoch"]) == epochs
    assert read_log(tmp_path / "nothing.csv") == {}
    section = learning_curves_section([measured_run(log=found)])
    assert ("There is no log of run." in section.body) == (not epochs)
    assert bool(section.tables) == bool(epochs)


def test_a_broken_log_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n0,much\n")
    with pytest.raises(ValueError, match=r"log\.csv: not the log of a run: .*'much'"):
        read_log(tmp_path / "log.csv")


def test_curves_hold_what_was_measured(log):
    other = {"epoch": np.arange(2.0), "loss": np.array([3.0, 2.0])}
    runs = [measured_run("first", log=log), measured_run("second", log=other)]
    section = learning_curves_section([*runs, measured_run("third")])
    page = Page(section.body)
    labels = [svg["aria-label"] for svg in page.all("svg") if "aria-label" in svg]
    assert labels[0] == (
        "Loss by epoch: first from 2.5 in epoch 1 to 1 in epoch 4, lowest 1, highest 2.5; second "
        "from 3 in epoch 1 to 2 in epoch 2, lowest 2, highest 3"
    )
    assert labels[1] == (
        "Dev rsum by epoch: first from 210 in epoch 2 to 205.5 in epoch 4, lowest 205.5, highest "
        "210"
    )
    titles = [label.split(" by epoch")[0] for label in labels]
    assert titles[2:] == [
        "Dev R@1, images looking for captions",
        "Learning rate at the end of the epoch",
        "Norm of the gradient",
        "Fraction of the negatives that the hardest are chosen from",
    ]
    assert "There is no log of third." in section.body
    summary, numbers = section.tables
    assert numbers.folded and section.body.count("<details>") == 1
    assert summary.rows == [["first", "4", "2", "210.0"], ["second", "2", "", ""]]
    assert numbers.columns[:4] == ("run", "epoch", "loss", "val_rsum")
    assert numbers.rows[0][:4] == ["first", "1", "2.5", ""]
    assert numbers.rows[1][:4] == ["first", "2", "1.5", "210"]
    assert numbers.rows[5] == ["second", "2", "2", "", "", "", "", ""]


def test_one_run_is_not_named_in_every_row(log):
    section = learning_curves_section([measured_run("mine", log=log)])
    summary, numbers = section.tables
    assert (summary.columns[0], summary.rows) == ("epochs", [["4", "2", "210.0"]])
    assert (numbers.columns[0], numbers.rows[0][:2]) == ("epoch", ["1", "2.5"])
    assert not summary.text_columns and "legend" not in section.body
    assert configuration_section([measured_run("mine")]).tables[0].title == "All fields"


def test_a_number_that_did_not_change_has_no_plot(log):
    log = {**log, "learning_rate": np.full(4, 0.1), "val_rsum": np.array([math.nan, 5, 5, 5])}
    section = learning_curves_section([measured_run(log=log)])
    labels = [svg["aria-label"] for svg in Page(section.body).all("svg")]
    assert labels and not [text for text in labels if text.startswith(("Dev rsum", "Learning"))]
    assert "did not change: Dev rsum; Learning rate at the end of the epoch." in section.body
    assert section.tables[1].rows[1][2] == "5"


def test_a_curve_breaks_where_another_loss_begins(log):
    run = dataclasses.replace(measured_run(log=log), losses={3: "<b>", 9: "triplet"})
    page = Page(learning_curves_section([run]).body)
    loss, *_, norm, fraction = [svg["aria-label"] for svg in page.all("svg")]
    assert loss.endswith("; <b> from epoch 3") and norm.endswith("; <b> from epoch 3")
    assert "<b>" not in fraction and "<b>" in "".join(page.text)
    # Loss and norm in two pieces each; R@1, rsum, learning rate and fraction in one.
    curves = [path for path in page.all("path") if "stroke: #0072b2" in path.get("style", "")]
    assert len([path for path in curves if "clip-path" in path]) == 8


@pytest.mark.parametrize("name", [HOSTILE[0], "_hidden", "$\\frac$"])
def test_a_run_may_be_called_anything(name, log):
    runs = [measured_run(name, log=log), measured_run("other", log=log)]
    page = Page(learning_curves_section(runs).body)
    (entry,) = [text for text in page.text if text.strip() == name][:1]
    assert entry
    assert not {"script", "img"} & {tag for tag, _ in page.elements}


def test_configuration_shows_what_differs():
    runs = [measured_run("a", seed=1), measured_run("b", seed=2, epochs=3)]
    differences, whole = configuration_section(runs).tables
    assert differences.columns == ("field", "a", "b")
    assert sorted(differences.rows) == [["training.epochs", "40", "3"], ["training.seed", "1", "2"]]
    assert dict(whole.rows)["training.seed"] == "1"
    assert dict(whole.rows)["model.joint_dim"] == "1024"


def test_one_configuration_has_no_differences():
    assert len(configuration_section([measured_run()]).tables) == 1
    section = configuration_section([measured_run("a"), measured_run("b")])
    assert len(section.tables) == 1 and "have the same configuration, that of a" in section.body
