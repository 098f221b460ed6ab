import io

from rich.console import Console

from hslm_tf.evaluation import DirectionReport, RecallReport, report_table

ONE = RecallReport(DirectionReport(10, 20, 30, 4, 5), DirectionReport(1, 2, 3, 40, 50))
TWO = RecallReport(DirectionReport(20, 40, 60, 5, 8), DirectionReport(2, 4, 6, 80, 100))


def lines(table) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_one_report():
    heading, _, i2t, t2i = lines(report_table({"test": ONE}))
    assert heading == ["R@1", "R@5", "R@10", "median", "mean", "rsum"]
    assert i2t == ["test", "i2t", "10.0", "20.0", "30.0", "4.0", "5.0"]
    assert t2i == ["t2i", "1.0", "2.0", "3.0", "40.0", "50.0", "66.0"]


def test_mean_and_sample_deviation_fit_80_columns():
    table = lines(report_table({"seed 0": ONE, "seed 1": TWO}, title="Flickr8k", mean=True))
    assert table[0] == ["Flickr8k"]
    i2t, t2i = table[-2:]
    assert i2t[:2] == ["mean", "i2t"]
    assert i2t[2:] == ["15.0±7.1", "30.0±14.1", "45.0±21.2", "4.5±0.7", "6.5±2.1"]
    assert t2i[-1] == "99.0±46.7"


def test_a_single_report_has_no_deviation():
    assert lines(report_table({"test": ONE}, mean=True)) == lines(report_table({"test": ONE}))
