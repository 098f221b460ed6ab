from importlib.util import find_spec

import pytest

from benchmarks import imports

REPORT = """
import time: self [us] | cumulative | imported package
import time:      1000 |       1000 |   numpy._core
Epoch 1/2
import time:    200000 |     201000 | numpy
import time:   1500000 |    1701000 | tensorflow
"""


def test_modules_count_for_their_package():
    found = imports.seconds_by_package(REPORT)
    assert list(found) == ["tensorflow", "numpy"]
    assert found == {"tensorflow": 1.5, "numpy": pytest.approx(0.201)}


def test_a_command_imports_what_it_uses(capsys):
    imports.main(["hslm_tf.check", "sample"])
    printed = capsys.readouterr().out
    assert "tensorflow" in printed and "keras" in printed
    # Keras would import both, and they are here.
    assert find_spec("matplotlib") and find_spec("pandas")
    assert not {"matplotlib", "pandas"} & set(printed.split())
