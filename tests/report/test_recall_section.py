import json
from importlib import resources

import pytest

from hslm_tf.report.ablation_section import ablation_section
from hslm_tf.report.published import TABLE_4, published_table, table_beside
from hslm_tf.report.recall_section import RECALL_COLUMNS, recall_section
from tests.report.measured import dataset_of, measured_run

FLICKR30K = (
    "A man is sharpening a knife .",
    "a man stands on boards on top of a huge ladder",
    "A man walks into a maroon building as a dog looks on.",
)
COCO = ("A man with a red helmet on a small moped on a dirt road. ",)


def with_captions(images, known, name="test", each=5):
    captions = [f"caption {number}" for number in range(images * each)]
    captions[7 : 7 + len(known)] = known
    return dataset_of(images, captions, name, each)


def test_published_numbers_are_those_of_the_paper():
    file = resources.files("hslm_tf.report") / "published_recalls.json"
    data = json.loads(file.read_text("utf-8"))
    assert "ICMR 2022" in data["source"]
    assert tuple(data["columns"]) == ("method", *RECALL_COLUMNS, "rsum")
    # As printed, these rsums are not what the recalls add up to.
    wrong = {(2, "CAMP"): 508.6, (3, "MMCA"): 412.8}
    for number, size in ((1, 19), (2, 19), (3, 12)):
        rows = published_table(number).rows
        assert len(rows) == len({row.method for row in rows}) == size
        for row in rows:
            assert len(row.recalls) == 6
            found = sum(recall for recall in row.recalls if recall is not None)
            assert found == pytest.approx(wrong.get((number, row.method), row.rsum), abs=0.15)
    hslm = {n: next(r for r in published_table(n).rows if r.method == "HSLM") for n in (1, 2, 3)}
    assert [hslm[number].rsum for number in (1, 2, 3)] == [508.6, 527.3, 436.3]
    assert hslm[1].recalls == (79.9, 95.7, 97.5, 60.7, 84.7, 90.1)


@pytest.mark.parametrize(
    ("dataset", "protocol", "table"),
    [
        (with_captions(1000, FLICKR30K), "1k", 1),
        (with_captions(1000, FLICKR30K), "all", 1),
        (with_captions(5000, COCO), "coco-1k", 2),
        (with_captions(5000, COCO), "5k", 3),
        (with_captions(5000, COCO), "all", 3),
        # Flickr8k has as many images, and one photograph in common.
        (with_captions(1000, FLICKR30K[:1]), "1k", None),
        (with_captions(1000, COCO), "1k", None),
        (with_captions(999, FLICKR30K), "all", None),
        (with_captions(1000, FLICKR30K, each=1), "1k", None),
        (with_captions(5000, FLICKR30K), "5k", None),
        (with_captions(1000, FLICKR30K).subset(0, 100), "all", None),
    ],
)
def test_published_rows_stand_beside_their_benchmark_alone(dataset, protocol, table):
    found = table_beside(dataset, protocol)
    assert (found and found.number) == table


def test_the_sample_and_flickr8k_stand_alone():
    from hslm_tf.data.sample import load_sample

    run = measured_run(name="mine")
    section = recall_section([run], load_sample("test"), "all")
    (table,) = section.tables
    assert table.title == "test, 100 images, protocol all" and len(table.rows) == 1
    assert "not the test split of Flickr30K or COCO" in section.body
    assert "SCAN" not in section.body


def test_runs_stand_below_the_papers_rows():
    runs = [measured_run("a", (10, 20, 30, 1, 2, 3)), measured_run("b", (14, 20, 30, 1, 2, 3))]
    section = recall_section(runs, with_captions(1000, FLICKR30K), "1k")
    (table,) = section.tables
    assert table.columns == ("method", *RECALL_COLUMNS, "rsum")
    assert len(table.rows) == 19 + 3 and table.marked == {19, 20, 21}
    assert table.rows[16] == (
        ["HSLM, as published", "79.9", "95.7", "97.5", "60.7", "84.7", "90.1", "508.6"]
    )
    assert table.rows[19] == ["a", "10.0", "20.0", "30.0", "1.0", "2.0", "3.0", "66.0"]
    assert table.rows[21] == (
        ["mean of 2 runs", "12.0±2.8", "20.0±0.0", "30.0±0.0", "1.0±0.0", "2.0±0.0", "3.0±0.0"]
        + ["68.0±2.8"]
    )
    assert "paper&#39;s Table 1" in section.body
    # Both numbers of HSLM, from where each is stored.
    assert "rsum 508.6 on Flickr30K in the paper's Table 1" in table.note
    assert f"{TABLE_4[12].rsum} in row 12" in table.note and TABLE_4[12].rsum == 497.8
    # BFAN has no R@10.
    assert table.rows[2] == ["BFAN", "68.1", "91.4", "-", "50.8", "78.4", "-", "288.7†"]
    assert "rsum of BFAN is the sum of 4 recalls" in table.note and "SGRAF" not in table.note


def test_what_a_table_prints_wrongly_is_said():
    tables = {
        protocol: recall_section([measured_run()], with_captions(5000, COCO), protocol).tables[0]
        for protocol in ("coco-1k", "5k")
    }
    assert "recalls of CAMP add up to 508.6" in tables["coco-1k"].note
    assert "recalls of MMCA add up to 412.8" in tables["5k"].note
    assert "rsum of SGRAF is the sum of 4 recalls" in tables["5k"].note
    assert ["SGRAF", "57.8", "-", "91.6", "41.9", "-", "81.3", "272.6†"] in tables["5k"].rows


def test_a_split_that_chose_the_epoch_stands_alone():
    section = recall_section([measured_run()], with_captions(1000, FLICKR30K, name="dev"), "1k")
    assert len(section.tables[0].rows) == 1
    assert "learnt from the split &#39;dev&#39; or chose the epoch by it" in section.body


def test_rows_of_an_ablation_have_no_mean():
    runs = [measured_run("row-1-seed-0", row=1), measured_run("row-9-seed-0", row=9)]
    (table,) = recall_section(runs, dataset_of(3), "all").tables
    assert [row[0] for row in table.rows] == ["row-1-seed-0", "row-9-seed-0"]


def test_ablation_needs_rows():
    assert ablation_section([measured_run(row=1), measured_run()], dataset_of(3)) is None
    runs = [
        measured_run(recalls=(10, 20, 30, 1, 2, 3), row=1),
        measured_run(recalls=(14, 20, 30, 1, 2, 3), row=1),
        measured_run(recalls=(50, 60, 70, 40, 50, 60), row=9),
    ]
    table, orderings = ablation_section(runs, dataset_of(3)).tables
    assert table.rows[0] == [
        *("1", "", "", "", "x", ""),
        *("12.0", "20.0", "30.0", "1.0", "2.0", "3.0", "68.0±2.8", "431.0"),
    ]
    assert table.rows[1][-2:] == ["330.0", "484.6"]
    assert ["cross-attention and local add to global", "1 of 1", "9 > 1: +262.0 (+53.6)"] in (
        orderings.rows
    )
