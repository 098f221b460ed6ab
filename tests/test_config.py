import dataclasses
import json
import subprocess
import sys

import pytest

from hslm_tf.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from hslm_tf.presets import ABLATION_PARTS, PRESETS, preset


@pytest.mark.parametrize("name, decay_epochs", [("flickr30k", 20), ("coco", 15)])
def test_presets_of_the_paper(name, decay_epochs):
    run = preset(name)
    assert (run.model.region_dim, run.model.max_regions) == (2048, 36)
    assert (run.model.joint_dim, run.model.word_dim, run.model.similarity_dim) == (1024, 300, 256)
    assert run.model.mgcn_layers == 4 and run.model.word_dropout == 0.4
    parts = (run.model.mgcn, run.model.self_attention, run.model.cross_attention)
    assert all(parts) and run.model.global_alignment and run.model.local_alignment
    training = run.training
    assert (training.epochs, training.batch_size) == (40, 128)
    assert (training.learning_rate, training.decay_epochs) == (2e-4, decay_epochs)
    assert (training.margin, training.gradient_clip) == (0.2, 2.0)
    assert training.growing_epochs
    # What the paper does not state.
    assert training.schedule == "step"
    assert (training.contrastive_epochs, training.random_epochs, training.ema) == (2, 0, 0.999)


@pytest.mark.parametrize("name", ["flickr30k", "coco"])
def test_letter_of_the_paper(name):
    """Sizes, parts and schedule are those of the other preset, the equations as printed."""
    letter, run = preset(f"paper/{name}"), preset(name)
    assert letter.data == run.data
    model = letter.model
    assert model.as_printed and model.attention == "dot_sigmoid"
    assert (model.drop_regions, model.drop_words) == (0, 0)
    changed = ("as_printed", "attention", "attention_scale", "drop_regions", "drop_words")
    values = {name: getattr(run.model, name) for name in changed}
    assert dataclasses.replace(model, **values) == run.model
    training = letter.training
    assert (training.random_epochs, training.growing_epochs) == (0, 0)
    assert training.contrastive_epochs == 0 and training.ema == 0
    for field in ("epochs", "batch_size", "learning_rate", "decay_epochs", "margin", "schedule"):
        assert getattr(training, field) == getattr(run.training, field), field


def test_twelve_rows_of_table_4():
    """The paper's table: check marks for MGCN, Self-Attn, Cross-Attn, Glob and Loc."""
    marks = """
        1  . . . x .
        2  . x . x .
        3  x . . x .
        4  x x . x .
        5  . . x . x
        6  . x x . x
        7  x . x . x
        8  x x x . x
        9  . . x x x
        10 . x x x x
        11 x . x x x
        12 x x x x x
    """
    table = {}
    for line in marks.strip().splitlines():
        row, *columns = line.split()
        table[int(row)] = tuple(mark == "x" for mark in columns)
    assert table == {row: tuple(parts.values()) for row, parts in ABLATION_PARTS.items()}
    switches = ("mgcn", "self_attention", "cross_attention", "global_alignment", "local_alignment")
    flickr30k = preset("flickr30k")
    for row, parts in table.items():
        model = preset(f"ablation/{row}").model
        assert tuple(getattr(model, switch) for switch in switches) == parts
        # Nothing else differs from the full model.
        values = dict.fromkeys(switches, True)
        assert dataclasses.replace(model, **values) == flickr30k.model
        assert preset(f"ablation/{row}").training == flickr30k.training
    assert preset("ablation/12") == flickr30k


@pytest.mark.parametrize("name", ["sample", "flickr8k"])
def test_small_presets_are_row_9_of_table_4(name):
    """Graph convolutions and self-attention do not help on so little data (docs/results.md)."""
    model = preset(name).model
    assert {part: getattr(model, part) for part in ABLATION_PARTS[9]} == ABLATION_PARTS[9]
    assert model.mgcn_layers == 4
    assert model.region_dim == {"sample": 128, "flickr8k": 256}[name]


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="flickr30k.*ablation/12.*Received: name='flickr31k'"):
        preset("flickr31k")


@pytest.mark.parametrize(
    "section, values, message",
    [
        (ModelConfig, {"cross_attention": False}, "needs cross_attention.*local_alignment=True"),
        (ModelConfig, {"local_alignment": False, "global_alignment": False}, "nothing to score"),
        (ModelConfig, {"joint_dim": 0}, "`joint_dim` must be at least 1. Received: joint_dim=0"),
        (ModelConfig, {"region_dim": -1}, "`region_dim` must be at least 1"),
        (ModelConfig, {"max_tokens": 2}, "`max_tokens` must be at least 3"),
        (ModelConfig, {"mgcn_layers": 0}, "`mgcn_layers` must be at least 1; `mgcn` turns it off"),
        (ModelConfig, {"word_dropout": 1.0}, r"`word_dropout` must be in \[0, 1\)"),
        (ModelConfig, {"drop_words": -0.1}, r"`drop_words` must be in .*Received: drop_words=-0.1"),
        (TrainingConfig, {"epochs": 0}, "`epochs` must be at least 1"),
        (TrainingConfig, {"batch_size": 1}, "`batch_size` must be at least 2"),
        (TrainingConfig, {"learning_rate": 0.0}, "`learning_rate` must be positive"),
        (TrainingConfig, {"gradient_clip": 0.0}, "`gradient_clip` must be positive"),
        (TrainingConfig, {"margin": -0.2}, "`margin` must be positive. Received: margin=-0.2"),
        (TrainingConfig, {"random_epochs": -1}, "`random_epochs` must be 0 or more"),
    ],
)
def test_impossible_values_are_refused(section, values, message):
    with pytest.raises(ValueError, match=message):
        section(**values)


def test_global_alignment_needs_no_cross_attention():
    config = ModelConfig(cross_attention=False, local_alignment=False)
    assert config.global_alignment and not config.cross_attention


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("sample").model.joint_dim = 3


@pytest.mark.parametrize("name", PRESETS)
def test_file_round_trip(name, tmp_path):
    run = preset(name)
    run.save(tmp_path / "config.json")
    assert RunConfig.load(tmp_path / "config.json") == run
    sections = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert set(sections) == {"model", "data", "training"}
    assert sections["model"]["joint_dim"] == run.model.joint_dim


def test_file_keeps_every_value(tmp_path):
    run = RunConfig(
        ModelConfig(joint_dim=7, as_printed=True, attention="softmax", drop_words=0.25),
        DataConfig(min_count=2, vocabulary="wörter.json"),
        TrainingConfig(growing_epochs=3, seed=3, precision="mixed_bfloat16", random_epochs=1),
    )
    run.save(tmp_path / "config.json")
    assert RunConfig.load(tmp_path / "config.json") == run


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "3",
        lambda text: "",
        lambda text: text.replace('"joint_dim"', '"joint_dimension"'),
        lambda text: text.replace('"training"', '"trainig"'),
        lambda text: text.replace('"cross_attention": true', '"cross_attention": false'),
        lambda text: text.replace('"batch_size": 128', '"batch_size": 1'),
        lambda text: text.replace('"joint_dim": 1024', '"joint_dim": "1024"'),
        lambda text: text.replace('"model": {', '"model": null, "other": {'),
    ],
    ids="truncated list number empty key section impossible small string null".split(),
)
def test_broken_file_is_named(change, tmp_path):
    path = tmp_path / "config.json"
    preset("flickr30k").save(path)
    text = path.read_text("utf-8")
    assert change(text) != text
    path.write_text(change(text), "utf-8")
    with pytest.raises(ValueError, match="config.json: not the configuration of a run"):
        RunConfig.load(path)


def test_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b'{"model": "\xff\xfe"}')
    with pytest.raises(ValueError, match="config.json: not the configuration of a run"):
        RunConfig.load(path)


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        RunConfig.load("nowhere.json")


def test_configuration_needs_no_tensorflow():
    script = "import sys, hslm_tf.config; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_absolute_paths(tmp_path, monkeypatch):
    """A run is evaluated from wherever one stands; the built-in sample has no path."""
    monkeypatch.chdir(tmp_path)
    data = DataConfig(dataset="features", vocabulary="words.json")
    absolute = RunConfig(data=data).with_absolute_paths().data
    assert absolute.dataset == str(tmp_path / "features")
    assert absolute.vocabulary == str(tmp_path / "words.json")
    assert absolute.word_vectors is None
    assert RunConfig().with_absolute_paths() == RunConfig()


def test_contrastive_start_on_global_vectors_needs_one_of_the_image():
    training = TrainingConfig(contrastive_epochs=1, contrastive_on="global")
    RunConfig(model=ModelConfig(image_global="regions"), training=training)
    for model in (ModelConfig(), ModelConfig(global_alignment=False, image_global="regions")):
        with pytest.raises(ValueError, match="Received: contrastive_on=global, image_global="):
            RunConfig(model=model, training=training)


def test_contrastive_start_on_parts_needs_unit_length():
    training = TrainingConfig(contrastive_epochs=1, contrastive_on="parts")
    model = ModelConfig(image_global="regions")
    RunConfig(model=model, training=training)
    with pytest.raises(ValueError, match="Received: contrastive_on=parts, as_printed=True"):
        RunConfig(model=dataclasses.replace(model, as_printed=True), training=training)
    with pytest.raises(ValueError, match="Received: contrastive_on=parts, image_global="):
        RunConfig(model=ModelConfig(), training=training)


@pytest.mark.parametrize(
    "section, name, value",
    [
        ("model", "mgcn", "no"),
        ("model", "mgcn", 1),
        ("model", "joint_dim", True),
        ("model", "joint_dim", 8.0),
        ("model", "attention_scale", float("nan")),
        ("model", "word_dropout", "0.1"),
        ("model", "attention", "cosine"),
        ("model", "attention_scale", None),
        ("data", "word_vectors", 3),
        ("data", "min_count", None),
        ("data", "vocabulary", 3),
        ("training", "patience", 2.5),
        ("training", "learning_rate", float("inf")),
        ("model", "as_printed", 0),
        ("training", "seed", None),
    ],
)
def test_values_of_another_type_are_refused(section, name, value, tmp_path):
    kind = {"model": ModelConfig, "data": DataConfig, "training": TrainingConfig}[section]
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}={value!r}"):
        kind(**{name: value})
    RunConfig().save(tmp_path / "config.json")
    content = json.loads((tmp_path / "config.json").read_text())
    content[section][name] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"config.json: not the configuration of a run.*{name}"):
        RunConfig.load(tmp_path / "config.json")


def test_a_configuration_nested_too_deep(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="config.json: not the configuration of a run"):
        RunConfig.load(tmp_path / "config.json")


def test_whole_numbers_may_stand_for_fractions():
    config = TrainingConfig(learning_rate=1, ema=0)
    assert config.learning_rate == 1
