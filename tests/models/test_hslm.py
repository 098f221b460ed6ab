import dataclasses
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.config import ModelConfig
from hslm_tf.data import RetrievalDataset
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.encoding import encode_images
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS, preset
from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum
from tests.layer_test import assert_close
from tests.tiny_model import SIZES, WORDS, random_batch, random_images, randomize_model

ROOT = Path(__file__).resolve().parents[2]
CAPTIONS = [
    "A dog runs on the grass .",
    "a cat",
    "The red ball sits on water with a big boy",
    "Zebra !",
    "the boy with the red hat and the big dog runs on the grass with a ball on the water",
]
# Every hinge adds to the score of a negative what it takes from the positive, bias and all.
WITHOUT_GRADIENT = {"similarity_fusion/score/bias"}


def ablation(row: int) -> ModelConfig:
    return dataclasses.replace(preset(f"ablation/{row}").model, **SIZES)


def built(config: ModelConfig, seed: int = 0, **kwargs) -> HSLM:
    model = HSLM(config, WORDS, **kwargs)
    randomize_model(model, seed)
    return model


@pytest.fixture(scope="module", params=ABLATION_PARTS)
def row(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def ablated(row) -> HSLM:
    """The model of one row of the paper's Table 4."""
    return built(ablation(row))


@pytest.fixture(scope="module")
def whole() -> HSLM:
    """The model with every part: the last row."""
    return built(ablation(12))


def five_images() -> tuple[np.ndarray, np.ndarray]:
    return random_images(len(CAPTIONS), seed=3)


def arguments() -> tuple:
    """Arguments of `HSLM.score`."""
    regions, mask = five_images()
    return regions, CAPTIONS, mask


def matrix(model: HSLM) -> np.ndarray:
    return model.score(*arguments(), matrix=True).numpy()


def weights_of(model: HSLM) -> dict[str, np.ndarray]:
    return {weight.path: np.asarray(weight).copy() for weight in model.trainable_variables}


def test_every_variable_learns(row, ablated):
    """One step of every ablation, compared with its weights before."""
    loss = HardestNegativeTripletLoss(margin=2.0)
    ablated.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)
    before = weights_of(ablated)
    report = ablated.train_step(random_batch([0, 1, 2, 2, 3, 4]))
    after = weights_of(ablated)
    randomize_model(ablated)
    assert all(np.isfinite(float(value)) for value in report.values())
    assert report["active_hinges"] > 0
    for path, old in before.items():
        change = np.max(np.abs(after[path] - old))
        assert np.all(np.isfinite(after[path]))
        assert (change > 1e-6) != (path in WITHOUT_GRADIENT), path


def test_parts_of_every_row(row, ablated):
    mgcn, self_attention, cross_attention, global_alignment, local_alignment = ABLATION_PARTS[
        row
    ].values()
    paths = " ".join(variable.path for variable in ablated.trainable_variables)
    assert ("image_mgcn" in paths) == ("text_mgcn" in paths) == mgcn
    assert ("self_attention" in paths) == self_attention
    assert ("cross_attention" in paths) == cross_attention
    assert ("text_pooling" in paths) == ("global_similarity" in paths) == global_alignment
    assert ("local_similarity" in paths) == local_alignment
    assert ("attended_pooling" in paths) == (global_alignment and cross_attention)
    assert ("image_pooling" in paths) == (global_alignment and not cross_attention)


def expected_parameters(config: ModelConfig) -> int:
    """Counted on paper, maps of width x width with or without bias."""
    width, word, similarity = config.joint_dim, config.word_dim, config.similarity_dim

    def pooling(d: int) -> int:
        return 2 * d * d + d

    def mgcn(d: int) -> int:
        return config.mgcn_layers * 4 * (d * d + d)

    total = len(WORDS) * word + (config.region_dim + 1) * width
    # Update, reset and candidate of two directions, with biases for input and state.
    total += 2 * 3 * (word * width + width * width + 2 * width)
    total += config.self_attention * 3 * word * word
    total += config.mgcn * (mgcn(word) + mgcn(width))
    total += config.cross_attention  # gamma
    total += config.global_alignment * (2 * pooling(width) + (width + 1) * similarity)
    total += config.local_alignment * ((width + 1) * similarity + similarity + 1)  # and the gate
    return total + similarity + 1


def test_parameter_counts(row, ablated):
    assert ablated.count_params() == expected_parameters(ablation(row))


def test_aligned_pairs_equal_the_diagonal_of_the_matrix(ablated):
    regions, mask = five_images()
    scores = matrix(ablated)
    assert scores.shape == (5, 5) and scores.dtype == "float32"
    assert np.std(scores) > 1e-3
    assert_close(ablated.score(regions, CAPTIONS, mask), np.diag(scores))
    token_ids = ablated.tokenizer(tf.constant(CAPTIONS)).to_tensor()
    inputs = {"region_features": regions, "region_mask": mask, "token_ids": token_ids.numpy()}
    assert_close(ablated(inputs)["score"], np.diag(scores))


def test_padding_never_changes_a_result(ablated):
    """One image and one caption alone against the same in a batch of longer ones."""
    regions, mask = five_images()
    scores = matrix(ablated)
    assert mask[1].sum() < mask.shape[1]
    for i, j in ((1, 1), (0, 3)):
        real = regions[i : i + 1, : mask[i].sum()]
        assert_close(ablated.score(real, [CAPTIONS[j]])[0], scores[i, j])
    texts = ablated.encode_text(CAPTIONS)
    twice = ablated.text_encoder(
        {
            "token_ids": tf.pad(
                ablated.tokenizer(tf.constant(CAPTIONS)).to_tensor(), [[0, 0], [0, 20]]
            )
        }
    )
    width = texts["words"].shape[1]
    assert_close(twice["words"][:, :width], texts["words"])
    assert not np.any(twice["words"][:, width:]) and not np.any(twice["word_mask"][:, width:])
    if "text_global" in texts:
        assert_close(twice["text_global"], texts["text_global"])


def test_file_round_trip(row, ablated, tmp_path):
    loss = HardestNegativeTripletLoss(0.3, NegativeCurriculum(5, 7), True, seed=row)
    optimizer = keras.optimizers.Adam(2e-3, global_clipnorm=1.5)
    ablated.compile(optimizer, loss, run_eagerly=True)
    ablated.train_step(random_batch([0, 1, 2, 2, 3, 4]))
    ablated.save(tmp_path / "hslm.keras")
    loaded = keras.models.load_model(tmp_path / "hslm.keras")
    assert type(loaded) is HSLM
    assert loaded.config == ablated.config and loaded.vocabulary == WORDS
    np.testing.assert_array_equal(matrix(loaded), matrix(ablated))
    assert loaded.retrieval_loss.get_config() == loss.get_config()
    assert loaded.optimizer.get_config() == optimizer.get_config()
    assert loaded.optimizer.iterations == 1
    pairs = zip(loaded.optimizer.variables, optimizer.variables, strict=True)
    for restored, saved in pairs:
        np.testing.assert_array_equal(np.asarray(restored), np.asarray(saved))
    # Adam's moments of every weight were restored.
    assert len(optimizer.variables) == 2 + 2 * len(ablated.trainable_variables)


def test_file_loads_in_a_fresh_process(whole, tmp_path):
    whole.save(tmp_path / "hslm.keras")
    np.savez(tmp_path / "images.npz", *five_images())
    script = f"""
import keras, numpy as np
import hslm_tf.models.hslm
model = keras.models.load_model("hslm.keras")
regions, mask = np.load("images.npz").values()
np.save("scores.npy", model.score(regions, {CAPTIONS!r}, mask, matrix=True))
"""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_close(np.load(tmp_path / "scores.npy"), matrix(whole), 1e-6)


def test_model_that_was_never_compiled(tmp_path):
    model = built(ablation(1))
    assert model.metrics == []
    model.save(tmp_path / "hslm.keras")
    loaded = keras.models.load_model(tmp_path / "hslm.keras")
    assert not loaded.compiled
    np.testing.assert_array_equal(matrix(loaded), matrix(model))


def test_chosen_pairs_equal_the_matrix(ablated):
    regions, mask = five_images()
    images, texts = ablated.encode_image(regions, mask), ablated.encode_text(CAPTIONS)
    random = np.random.default_rng(0)
    rows = random.integers(0, 5, 12, dtype="int32")
    columns = random.integers(0, len(CAPTIONS), 12, dtype="int32")
    scores = ablated.score_rows(images, texts, tf.constant(rows), tf.constant(columns))
    assert_close(scores, matrix(ablated)[rows, columns])


def test_block_size_does_not_change_scores(whole):
    regions, mask = five_images()
    images, texts = whole.encode_image(regions, mask), whole.encode_text(CAPTIONS)
    scores = [whole.score_all(images, texts, size).numpy() for size in (1, 2, 5, 64)]
    for other in scores[1:]:
        assert_close(other, scores[0])


def test_scores_do_not_depend_on_what_was_prepared(ablated):
    regions, mask = five_images()
    images, texts = ablated.encode_image(regions, mask), ablated.encode_text(20 * CAPTIONS)
    stored = {key: value for key, value in images.items() if key != "region_products"}
    attended = ablated.config.global_alignment and not ablated.config.pools_regions
    assert ("region_products" in images) == attended
    expected = ablated.score_encoded(images, texts)
    assert_close(ablated.score_encoded(stored, texts), expected)
    one = {key: value[:1] for key, value in texts.items()}
    assert_close(ablated.score_encoded(stored, one, 3), expected[:, :1])
    assert_close(ablated.score_all(stored, one), expected[:, :1])


def test_score_matrix_of_a_dataset(whole):
    regions, mask = five_images()
    dataset = RetrievalDataset(
        name="dev",
        source="nowhere",
        region_features=regions.astype("float32"),
        captions=CAPTIONS * 2,
        caption_to_image=np.arange(10, dtype="int32") // 2,
        num_regions=mask.sum(axis=1).astype("int32"),
    )
    done = []
    scores = score_matrix(whole, dataset, 2, caption_block_size=4, progress=done.append)
    assert scores.shape == (5, 10) and scores.dtype == "float32" and done == [4, 4, 2]
    assert_close(scores, np.tile(matrix(whole), 2))
    assert_close(scores[:, :5], scores[:, 5:])
    encoded = encode_images(whole, dataset, image_block_size=3)
    expected = whole.encode_image(regions, mask)
    assert set(encoded) == set(expected)
    assert_close(encoded["regions"], expected["regions"])


def test_encoders(whole):
    regions, mask = five_images()
    images, texts = whole.encode_image(regions, mask), whole.encode_text(CAPTIONS)
    assert images["regions"].shape == (5, 6, 16)
    np.testing.assert_array_equal(images["region_mask"], mask)
    lengths = whole.tokenizer(tf.constant(CAPTIONS)).row_lengths().numpy()
    assert texts["words"].shape == (5, max(lengths), 16) and texts["text_global"].shape == (5, 16)
    np.testing.assert_array_equal(np.sum(texts["word_mask"], axis=1), lengths)
    # Without a mask all regions are real.
    full = whole.encode_image(regions.astype("float16"))
    assert np.all(full["region_mask"]) and full["regions"].dtype == "float32"


def test_unknown_words_and_case(whole):
    regions, mask = five_images()
    captions = ["a DOG", "A dog", "zebra", "giraffe"]
    scores = whole.score(regions[:1], captions, mask[:1], matrix=True)[0].numpy()
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[2] == pytest.approx(scores[3], rel=1e-5)
    assert abs(scores[0] - scores[2]) > 1e-3


def test_long_captions_are_truncated():
    model = built(dataclasses.replace(ablation(1), max_tokens=5))
    regions, mask = five_images()
    long, short = "a dog runs on the grass", "a dog runs"
    scores = model.score(regions[:1], [long, short, "a dog"], mask[:1], matrix=True)[0].numpy()
    assert scores[0] == pytest.approx(scores[1], rel=1e-5) != pytest.approx(scores[2], rel=1e-3)


def test_summary_has_the_parts_of_figure_2(whole):
    lines = []
    whole.summary(
        expand_nested=True, print_fn=lambda line, **_: lines.append(line), line_length=120
    )
    summary = "\n".join(lines)
    parts = {
        "image_encoder": ["region_projection", "image_mgcn"],
        "text_encoder": [
            "word_embedding",
            "self_attention",
            "text_mgcn",
            "bidirectional_gru",
            "text_pooling",
        ],
        "matcher": [
            "cross_attention",
            "attended_pooling",
            "local_similarity",
            "global_similarity",
            "similarity_fusion",
        ],
    }
    for part, layers in parts.items():
        model = whole.get_layer(part)
        assert part in summary
        assert set(layers) <= {layer.name for layer in model.layers}
        assert all(layer in summary for layer in layers)
    assert set(whole.output) == {"score"}
    assert set(whole.input) == {"region_features", "region_mask", "token_ids"}


def test_wrong_region_width_is_refused(whole):
    regions, mask = five_images()
    for wrong in (regions[:, :, :11], regions[0]):
        with pytest.raises(
            ValueError, match=r"images, regions, 12.*Received: region_features.shape="
        ):
            whole.encode_image(wrong)


def test_mismatched_counts_are_refused(whole):
    regions, mask = five_images()
    with pytest.raises(
        ValueError, match=r"matrix=True.*Received: len\(region_features\)=5.*\(captions\)=2"
    ):
        whole.score(regions, CAPTIONS[:2], mask)
    assert whole.score(regions, CAPTIONS[:2], mask, matrix=True).shape == (5, 2)


@pytest.mark.parametrize("options", [
    {"mgcn_normalization": "layer", "mgcn_affinity": "softmax", "attention": "softmax"},
    {"self_attention_residual": False, "mgcn_normalization": None, "mgcn_affinity": "dot"},
    {"attention": "dot_sigmoid", "normalize_features": False, "normalize_fusion": False},
    {"region_dropout": 0.1, "feature_dropout": 0.1, "drop_regions": 0.2, "drop_words": 0.2},
], ids=["softmax", "no residual", "letter of the paper", "dropout"])  # fmt: skip
def test_options(options):
    config = dataclasses.replace(ablation(12), **options)
    model = built(config)
    # Under softmax a bias of nu adds the same to all logits of a row.
    without = {
        variable.path
        for variable in model.trainable_variables
        if config.mgcn_affinity == "softmax" and variable.path.endswith("nu/bias")
    }
    model.compile(keras.optimizers.SGD(1.0), HardestNegativeTripletLoss(2.0), run_eagerly=True)
    before = weights_of(model)
    model.train_step(random_batch([0, 1, 2, 2, 3, 4]))
    after = weights_of(model)
    for path in before:
        changed = np.max(np.abs(after[path] - before[path])) > 1e-6
        assert changed != (path in WITHOUT_GRADIENT | without), path
    randomize_model(model)
    assert_close(model.score(*arguments()), np.diag(matrix(model)))
    assert HSLM.from_config(model.get_config()).config == config


@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 3e-2), ("mixed_bfloat16", 2e-1)])
def test_mixed_precision(policy, tolerance, whole):
    keras.utils.set_random_seed(0)
    model = built(ablation(12), dtype=policy)
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    scores = matrix(model)
    assert scores.dtype == "float32"
    assert_close(scores, matrix(whole), tolerance)
    before_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    finally:
        keras.config.set_dtype_policy(before_policy)
    before = weights_of(model)
    report = model.train_step(random_batch([0, 1, 2, 2, 3, 4]))
    assert all(np.isfinite(float(value)) for value in report.values())
    assert report["gradient_norm"] < 100
    after = weights_of(model)
    changed = [np.any(after[path] != before[path]) for path in before]
    assert sum(changed) >= len(changed) - len(WITHOUT_GRADIENT)
    assert HSLM.from_config(model.get_config()).policy_name == policy


def test_loss_scaling_comes_with_the_model_under_mixed_float16():
    """The policy of the model counts, not the global one of the script that loads it."""
    model = HSLM(ablation(1), WORDS, dtype="mixed_float16")
    model.compile(keras.optimizers.Adam(1e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_compiled_fit_learns():
    """A graph of its own, as users run it: `fit` on a data set, with a short last batch."""
    nothing = {"word_dropout": 0.0, "drop_words": 0.0, "drop_regions": 0.0}
    model = built(dataclasses.replace(ablation(9), **nothing))
    loss = HardestNegativeTripletLoss(curriculum=NegativeCurriculum(2, 6))
    model.compile(keras.optimizers.Adam(5e-3, global_clipnorm=2.0), loss)
    first = tf.data.Dataset.from_tensors(random_batch([0, 1, 2, 2, 3, 4], seed=0))
    dataset = first.concatenate(tf.data.Dataset.from_tensors(random_batch([0, 1, 1], seed=1)))
    history = model.fit(dataset, epochs=12, verbose=0).history
    assert model.optimizer.iterations == 24
    assert history["candidate_fraction"][0] == 0 and history["candidate_fraction"][-1] == 1
    # From the fifth epoch on all negatives compete.
    assert np.mean(history["loss"][-2:]) < 0.6 * np.mean(history["loss"][4:6])
