import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import gpu

COMMAND = ["benchmarks.gpu", "--numbers", "--tiny"]


@pytest.fixture(scope="module")
def numbers() -> dict:
    return gpu.numbers(tiny=True)


@pytest.mark.slow
def test_everything_is_measured_at_tiny_sizes(capfd):
    gpu.main(["--tiny"])
    table = capfd.readouterr().out
    lines = [json.loads(line) for line in table.splitlines() if line.startswith("{")]
    steps = [line["precision"] for line in lines if "step_s" in line]
    assert steps == ["float32", "mixed_float16", "mixed_bfloat16"]
    assert [line["captions"] for line in lines if "pairs_per_s" in line] == [300] * 3
    assert "not measured" not in table


def test_numbers_equal_the_cpu(numbers):
    rows = gpu._equality_rows(numbers, COMMAND)
    assert [float(row[1]) <= 1e-5 for row in rows] == [True, True]


@pytest.mark.parametrize("name", ["scores", "loss", "gradient_norm"])
def test_other_numbers_stop_the_benchmark(numbers, name, monkeypatch):
    cpu = SimpleNamespace(stdout=json.dumps(numbers))
    monkeypatch.setattr(gpu.subprocess, "run", lambda *args, **kwargs: cpu)
    assert gpu._equality_rows(numbers, COMMAND)
    other = {**numbers, name: (1.01 * np.array(numbers[name])).tolist()}
    with pytest.raises(ArithmeticError, match="differ by more than"):
        gpu._equality_rows(other, COMMAND)


def test_what_takes_too_long_is_said(capfd):
    gpu.measure_parts(gpu.parts(tiny=True)[-1:], "On a GPU", limit_s=0)
    assert "not measured: over 0 s" in capfd.readouterr().out
