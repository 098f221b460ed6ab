import dataclasses

import pytest

from benchmarks.necessary_work import pair_work, training_step_work
from hslm_tf.presets import preset

CONFIG = preset("flickr30k").model


def test_work_at_the_papers_sizes():
    work = training_step_work(CONFIG, batch_size=128, tokens=1848)
    # Multiplied out by hand from shapes, 2 x rows x inner x columns each.
    expected = {
        "image projection": 2 * 2 * 4608 * 2048 * 1024,
        "image MGCN": 4 * 3 * 2 * (2 * 4608 * 1024**2 + 2 * 1024**3 + 2 * 128 * 36 * 36 * 1024),
        "self-attention": 3 * 3 * 2 * 1848 * 300 * 300,
        "text MGCN": 4 * 3 * 2 * (2 * 1848 * 300**2 + 2 * 300**3),
        "bidirectional GRU": 3 * 2 * 2 * 1848 * (300 + 1024) * 3072,
        "text pooling": 3 * 2 * 1848 * 1024**2,
        "region products": 2 * (4608 * 1024**2 + 128 * 36 * 36 * 1024),
        "mining": 2 * 128 * (2 * 1848 * 36 * 1024 + 1848 * 1024 * 256)
        + 2 * 128 * 128 * (36 * 1024 + 1024 * 256),
        "chosen pairs": 3 * 3 * 2 * (1848 * 1024 * (2 * 36 + 256) + 128 * 1024 * (36 + 256 + 2048)),
    }
    assert work == pytest.approx({name: count / 1e9 for name, count in expected.items()})
    assert sum(work.values()) == pytest.approx(640, abs=0.5)


def test_contrastive_work_is_three_times_that_of_all_pairs():
    triplet = training_step_work(CONFIG, 128, 1848)
    contrastive = training_step_work(CONFIG, 128, 1848, "contrastive")
    assert contrastive.pop("all pairs") == pytest.approx(3 * triplet.pop("mining"))
    assert contrastive.pop("region products") == pytest.approx(3 * triplet.pop("region products"))
    triplet.pop("chosen pairs")
    assert contrastive == triplet


def test_parts_that_are_not_there_are_no_work():
    config = dataclasses.replace(CONFIG, mgcn=False, self_attention=False, image_global="regions")
    work, whole = (training_step_work(model, 128, 1848) for model in (config, CONFIG))
    left_out = {"image MGCN", "text MGCN", "self-attention", "region products"}
    assert set(whole) - set(work) == left_out
    # Keys of 4,608 regions, with gradient.
    assert work["image pooling"] == pytest.approx(3 * 2 * 4608 * 1024**2 / 1e9)
    assert work["mining"] == pytest.approx(whole["mining"] - 2 * 128 * 128 * 36 * 1024 / 1e9)
    row_1 = dataclasses.replace(config, cross_attention=False, local_alignment=False)
    assert pair_work(row_1, 14) == 2 * 1024 * 256
