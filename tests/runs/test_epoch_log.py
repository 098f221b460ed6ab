import re
import sys

import pytest

from hslm_tf.runs.epoch_log import EpochLines
from hslm_tf.runs.training_state import TrainingState


def epoch(lines, state, number, rsum):
    lines.on_epoch_begin(number)
    for step in range(2):
        lines.on_train_batch_end(step, {"loss": 0.125})
    logs = {"loss": 0.123456, "learning_rate": 0.00123, "pairs_per_second": 99.6}
    recall = dict.fromkeys(("val_i2t_r1", "val_t2i_r1", "val_rsum"), rsum)
    state.epochs = number + 1
    lines.on_epoch_end(number, {**logs, **recall})


def test_one_line_an_epoch_alone_where_there_is_no_terminal(capsys):
    state = TrainingState()
    lines = EpochLines(state, 12, 2)
    for number, (rsum, best) in enumerate([(float("nan"), 0), (21.25, 2), (21.0, 2)]):
        state.best_epoch = best
        epoch(lines, state, number, rsum)
    printed, bar = capsys.readouterr()
    assert bar == ""
    found = re.sub(r"\d+ s\b", "0 s", printed).splitlines()
    start = "loss 0.1235  lr 1.23e-03  100 pairs/s  0 s"
    assert found == [
        f"Epoch 1/12  {start}",
        f"Epoch 2/12  {start}  dev i2t R@1 21.2  t2i R@1 21.2  rsum 21.2  best",
        f"Epoch 3/12  {start}  dev i2t R@1 21.0  t2i R@1 21.0  rsum 21.0",
    ]


@pytest.mark.parametrize("steps_done", [0, 5])
def test_a_terminal_shows_loss_and_time_left_within_the_epoch(steps_done, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    state = TrainingState(steps=steps_done)
    lines = EpochLines(state, 3, 7)
    lines.on_epoch_begin(0)
    lines._bar.mininterval = lines._bar.miniters = 0
    lines.on_train_batch_end(0, {"loss": 0.125})
    bar = capsys.readouterr().err.split("\r")[-1]
    assert bar.startswith("Epoch 1/3 ") and bar.rstrip().endswith("left, loss 0.125")
    assert f"{steps_done + 1}/7 " in bar
    lines._bar.close()
