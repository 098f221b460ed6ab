from benchmarks.text_encoders import Arguments, measure
from tests.tiny_bert import write_bert
from tests.tiny_run import write_dataset


def test_costs_of_text_encoders(tmp_path, monkeypatch):
    monkeypatch.setenv("HSLM_TF_CACHE", str(tmp_path / "cache"))
    arguments = Arguments(
        write_dataset(tmp_path / "data"),
        str(write_bert(tmp_path / "bert")),
        (1,),
        steps=1,
        batch_size=8,
    )
    rows = gru, transformer = measure(arguments)
    assert [row["model"] for row in rows] == ["BiGRU", "transformer, 1 layers frozen"]
    assert gru["learning_m"] == gru["weights_m"] and gru["step_ratio"] == 1
    assert 0 < transformer["learning_m"] < transformer["weights_m"]
    # 60 captions in batches of 8.
    for row in rows:
        assert row["epoch_min"] == row["step_ms"] * 8 / 60_000 > 0 and row["query_ms"] > 0
