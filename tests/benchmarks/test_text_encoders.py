import pytest

from benchmarks.text_encoders import Arguments, measure
from tests.tiny_bert import LAYERS, write_bert
from tests.tiny_run import write_dataset


@pytest.mark.slow
def test_costs_of_text_encoders(tmp_path, monkeypatch):
    monkeypatch.setenv("HSLM_TF_CACHE", str(tmp_path / "cache"))
    arguments = Arguments(
        write_dataset(tmp_path / "data"),
        str(write_bert(tmp_path / "bert")),
        (LAYERS, 1),
        steps=1,
        batch_size=8,
    )
    gru, frozen, learning = measure(arguments)
    assert [row["model"] for row in (gru, frozen, learning)] == [
        "BiGRU",
        "transformer, 3 layers frozen",
        "transformer, 1 layers frozen",
    ]
    assert frozen["weights_m"] == learning["weights_m"]
    assert frozen["learning_m"] < learning["learning_m"] and gru["step_ratio"] == 1
    # 60 captions in batches of 8.
    for row in (gru, frozen, learning):
        assert row["epoch_min"] == row["step_ms"] * 8 / 60_000 > 0 and row["query_ms"] > 0
