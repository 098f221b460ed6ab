import dataclasses
import itertools
import json

import pytest

from hslm_tf.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from hslm_tf.presets import ABLATION_PARTS, PRESETS, preset


@pytest.mark.parametrize("name, decay_epochs", [("flickr30k", 20), ("coco", 15)])
def test_presets_of_the_paper(name, decay_epochs):
    run = preset(name)
    assert (run.model.region_dim, run.model.max_regions) == (2048, 36)
    assert (run.model.joint_dim, run.model.word_dim, run.model.similarity_dim) == (1024, 300, 256)
    assert run.model.mgcn_layers == 4 and run.model.word_dropout == 0.4
    assert run.model == preset("ablation/12").model, "every part is on"
    training = run.training
    assert (training.epochs, training.batch_size) == (40, 128)
    assert (training.learning_rate, training.decay_epochs) == (2e-4, decay_epochs)
    assert (training.margin, training.gradient_clip) == (0.2, 2.0)
    # What the paper does not state.
    assert training.growing_epochs and training.schedule == "step"
    assert (training.contrastive_epochs, training.random_epochs, training.ema) == (2, 0, 0.999)


@pytest.mark.parametrize("name", ["flickr30k", "coco"])
def test_letter_of_the_paper(name):
    """Sizes, parts and schedule are those of the other preset, the equations as printed."""
    letter, run = preset(f"paper/{name}"), preset(name)
    printed = {"as_printed": True, "attention": "dot_sigmoid", "drop_regions": 0, "drop_words": 0}
    printed["attention_scale"] = ModelConfig().attention_scale
    objective = dict.fromkeys(("random_epochs", "growing_epochs", "contrastive_epochs", "ema"), 0)
    assert letter.data == run.data
    assert letter.model == dataclasses.replace(run.model, **printed)
    assert letter.training == dataclasses.replace(run.training, **objective)


def test_twelve_rows_of_table_4():
    """Of MGCN and self-attention each, with global vectors, local ones and both."""
    compared = ((False, True, False), (True, False, True), (True, True, True))
    relations = list(itertools.product((False, True), repeat=2))
    table = [relation + vectors for vectors in compared for relation in relations]
    switches = ("mgcn", "self_attention", "cross_attention", "global_alignment", "local_alignment")
    flickr30k = preset("flickr30k")
    for row, marks in enumerate(table, start=1):
        parts = dict(zip(switches, marks, strict=True))
        assert ABLATION_PARTS[row] == parts
        # Nothing else differs from the full model.
        model = dataclasses.replace(flickr30k.model, **parts)
        assert preset(f"ablation/{row}") == dataclasses.replace(flickr30k, model=model)
    assert preset("ablation/12") == flickr30k and len(ABLATION_PARTS) == 12


@pytest.mark.parametrize("name", ["sample", "flickr8k", "flickr8k/minilm"])
def test_small_presets_are_row_9_of_table_4(name):
    """Graph convolutions and self-attention do not help on so little data (docs/results.md)."""
    model = preset(name).model
    assert {part: getattr(model, part) for part in ABLATION_PARTS[9]} == ABLATION_PARTS[9]
    assert model.mgcn_layers == 4
    assert model.region_dim == (128 if name == "sample" else 256)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="flickr30k.*ablation/12.*Received: name='flickr31k'"):
        preset("flickr31k")


@pytest.mark.parametrize(
    "section, values, message",
    [
        (ModelConfig, {"cross_attention": False}, "needs cross_attention.*local_alignment=True"),
        (ModelConfig, {"local_alignment": False, "global_alignment": False}, "nothing to score"),
        (ModelConfig, {"joint_dim": 0}, "`joint_dim` must be at least 1. Received: joint_dim=0"),
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


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("sample").model.joint_dim = 3


@pytest.mark.parametrize("name", PRESETS)
def test_file_round_trip(name, tmp_path):
    data = dataclasses.replace(preset(name).data, min_count=2, vocabulary="wörter.json")
    for run in (preset(name), dataclasses.replace(preset(name), data=data)):
        run.save(tmp_path / "config.json")
        assert RunConfig.load(tmp_path / "config.json") == run


@pytest.mark.parametrize(
    "old, new",
    [
        ('"joint_dim"', '"joint_dimension"'),
        ('"training"', '"trainig"'),
        ('"cross_attention": true', '"cross_attention": false'),
        ('"batch_size": 128', '"batch_size": 1'),
        ('"model": {', '"model": null, "other": {'),
        ("}\n", ""),
        *(
            (None, content)
            for content in (b"[]", b"3", b"", b'{"model": "\xff\xfe"}', b"[" * 99999)
        ),
    ],
)
def test_broken_file_is_named(old, new, tmp_path):
    path = tmp_path / "config.json"
    preset("flickr30k").save(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(old.encode(), new.encode()) if old else new)
    assert path.read_bytes() != content
    with pytest.raises(ValueError, match="config.json: not the configuration of a run"):
        RunConfig.load(path)


def test_absolute_paths(tmp_path, monkeypatch):
    """A run is evaluated from wherever one stands; the built-in sample has no path."""
    monkeypatch.chdir(tmp_path)
    data = DataConfig(dataset="features", vocabulary="words.json")
    absolute = RunConfig(data=data).with_absolute_paths().data
    assert absolute.dataset == str(tmp_path / "features")
    assert absolute.vocabulary == str(tmp_path / "words.json")
    assert absolute.word_vectors is None
    assert RunConfig().with_absolute_paths() == RunConfig()


def test_a_contrastive_start_needs_what_it_compares():
    """A global vector of the image, and for parts words and regions of unit length."""
    own = ModelConfig(image_global="regions")
    attended, none = ModelConfig(), dataclasses.replace(own, global_alignment=False)
    for on in ("global", "parts"):
        training = TrainingConfig(contrastive_epochs=1, contrastive_on=on)
        RunConfig(model=own, training=training)
        for model in (attended, none):
            if on == "parts" and model is none:
                # Words and what they attend to are left.
                RunConfig(model=model, training=training)
                continue
            with pytest.raises(ValueError, match=f"Received: contrastive_on={on}, image_global="):
                RunConfig(model=model, training=training)
    with pytest.raises(ValueError, match="Received: contrastive_on=parts, as_printed=True"):
        RunConfig(model=dataclasses.replace(own, as_printed=True), training=training)


@pytest.mark.parametrize(
    "section, name, value",
    [
        *(("model", "mgcn", value) for value in ("no", 1)),
        *(("model", "joint_dim", value) for value in (True, 8.0, "1024")),
        *(("model", "attention_scale", value) for value in (float("nan"), None)),
        ("model", "attention", "cosine"),
        ("data", "word_vectors", 3),
        ("data", "min_count", None),
        ("training", "patience", 2.5),
        ("training", "learning_rate", float("inf")),
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


def test_whole_numbers_may_stand_for_fractions():
    assert TrainingConfig(learning_rate=1, ema=0).learning_rate == 1


def test_backbones_that_are_files_get_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    model = ModelConfig(text_encoder="transformer")
    for given, expected in {"bert": str(tmp_path / "bert"), "minilm": "minilm"}.items():
        config = RunConfig(model=model, data=DataConfig(text_backbone=given))
        assert config.with_absolute_paths().data.text_backbone == expected
