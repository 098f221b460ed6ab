import numpy as np
import pytest

from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.models.encoding import encode_images
from hslm_tf.retrieval import distillation
from hslm_tf.retrieval.distillation import distill
from hslm_tf.retrieval.distillation_config import DistillationConfig
from hslm_tf.retrieval.projection_heads import ProjectionHead, new_heads, read_heads
from hslm_tf.runs.opening import load_heads
from hslm_tf.runs.run_directory import RunDirectory
from tests.layer_test import pad_batch, run_layer_test
from tests.tiny_collection import make_dataset, make_model

DATASET = make_dataset(60, captions=2)


@pytest.fixture(scope="module")
def model():
    return make_model()


def encodings(model):
    return encode_images(model, DATASET), model.encode_text(DATASET.captions)


def products(heads, model):
    images, texts = encodings(model)
    return heads.image_vectors(images) @ heads.text_vectors(texts).T


def randomize(heads):
    rng = np.random.default_rng(0)
    for head in (heads.image_head, heads.text_head):
        head.set_weights([rng.normal(0, 0.3, w.shape) for w in head.get_weights()])


@pytest.mark.parametrize(("dim", "num_weights"), [(5, 6), (None, 0)])
def test_layer(dim, num_weights):
    rng = np.random.default_rng(0)
    vectors, mask = pad_batch([rng.normal(size=(rows, 8)).astype("float32") for rows in (4, 4)])
    padded, padded_mask = pad_batch(list(vectors), length=7)
    run_layer_test(
        ProjectionHead,
        init_kwargs={"dim": dim, "attentions": 2, "concepts": 3, "seed": 1},
        inputs={"vectors": vectors, "mask": mask},
        expected_output_shape=(2, dim or 8),
        expected_num_weights=num_weights,
        output_in_float32=True,
        padded_inputs={"vectors": padded, "mask": padded_mask},
    )


def test_untrained_heads_are_projected_means(model):
    means = products(new_heads(16, None), model)
    np.testing.assert_allclose(products(new_heads(16, 16), model), means, atol=1e-5)
    # Wider than the features: orthonormal rows leave inner products as they are.
    np.testing.assert_allclose(products(new_heads(16, 24), model), means, atol=1e-5)


def test_a_head_equals_its_formula(model):
    heads = new_heads(16, 5, attentions=2, concepts=3)
    randomize(heads)
    images = encode_images(model, DATASET)
    vectors = heads.image_vectors(images)
    layer = heads.image_head.get_layer("image_pooling")
    weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
    projection, attention, concept, concept_bias, out, out_bias = weights
    for row in range(10):
        x = np.asarray(images["regions"], np.float64)[row][np.asarray(images["region_mask"])[row]]
        logits = x @ attention
        shares = np.exp(logits) / np.exp(logits).sum(axis=0)
        found = np.maximum(x @ concept + concept_bias, 0)
        parts = [*(shares.T @ x), found.max(axis=0), found.mean(axis=0)]
        vector = x.mean(axis=0) @ projection + np.concatenate(parts) @ out + out_bias
        np.testing.assert_allclose(vectors[row], vector / np.linalg.norm(vector), atol=1e-5)


def test_padding_does_not_count(model):
    heads = new_heads(16, 5, attentions=2, concepts=3)
    randomize(heads)
    images = {key: np.array(value) for key, value in encode_images(model, DATASET).items()}
    expected = heads.image_vectors(images)
    images["regions"][~images["region_mask"]] = 1e3
    np.testing.assert_allclose(heads.image_vectors(images), expected, atol=1e-6)
    images["regions"] = images["regions"].astype(np.float16)
    images["regions"][~images["region_mask"]] = np.nan
    found = heads.image_vectors(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_heads_survive_a_file(model, tmp_path):
    run = RunDirectory(tmp_path)
    fallback = load_heads(run.path, model)
    assert fallback.dim == 16 and fallback.teacher_fingerprint == ""
    heads = new_heads(16, 5, 2, 3, teacher_fingerprint=model_fingerprint(model))
    randomize(heads)
    heads.save(run.projection_heads)
    loaded = load_heads(run.path, model)
    assert loaded.dim == 5 and loaded.teacher_fingerprint == heads.teacher_fingerprint
    np.testing.assert_array_equal(products(loaded, model), products(heads, model))
    assert set(loaded.image_head.input) == {"regions", "region_mask"}
    assert set(loaded.text_head.input) == {"words", "word_mask"}


def test_heads_of_another_model_or_none_are_refused(model, tmp_path):
    run = RunDirectory(tmp_path)
    new_heads(16, 5, teacher_fingerprint="0" * 64).save(run.projection_heads)
    with pytest.raises(ValueError, match="was distilled from another model"):
        load_heads(run.path, model)
    run.projection_heads.write_text("nothing")
    with pytest.raises(ValueError, match="cannot be read as projection heads"):
        read_heads(run.projection_heads)
    model.save(run.projection_heads)
    with pytest.raises(ValueError, match="cannot be read as projection heads"):
        read_heads(run.projection_heads)


def overlap(scores, products, k=6):
    best, listed = np.argsort(-scores)[:, :k], np.argsort(-products)[:, :k]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(best, listed, strict=True)])


def test_blocks_may_agree_in_their_longest_caption_and_then_differ(model, monkeypatch):
    lengths = np.array([len(caption.split()) for caption in DATASET.captions])
    short, long = (np.flatnonzero(lengths == length)[:4] for length in (3, 6))
    blocks = [(np.arange(4), captions) for captions in (short, short, long)]
    monkeypatch.setattr(distillation, "_draw_block", lambda *_: blocks.pop(0))
    losses = []
    config = DistillationConfig(dim=5, concepts=3, steps=3, replay_steps=0)
    distill(model, DATASET, config, lambda _, loss: losses.append(loss))
    assert not blocks and np.isfinite(losses).all()


def test_distillation_finds_more_of_the_exact_best(model):
    """On what it was fitted to: heads can imitate this model, and the loss asks for it."""
    config = DistillationConfig(
        dim=16,
        attentions=2,
        concepts=32,
        steps=30,
        images_a_step=60,
        captions_a_step=120,
        replay_steps=9,
        learning_rate=5e-3,
    )
    before = [weight.copy() for weight in model.get_weights()]
    blocks, losses = [], []

    def progress(count, loss):
        blocks.append(count)
        losses.append(loss)

    heads = distill(model, DATASET, config, progress)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert heads.teacher_fingerprint == model_fingerprint(model)
    assert blocks == [25, 5] and losses[1] < 0.5 * losses[0]
    scores = score_matrix(model, DATASET)
    means, found = (products(heads, model) for heads in (new_heads(16, None), heads))
    for exact, untrained, trained in ((scores, means, found), (scores.T, means.T, found.T)):
        assert overlap(exact, trained) > overlap(exact, untrained) + 0.2


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("dim", 0), ("temperature", 0.0), ("max_images", 0), ("replay_steps", -1)],
)
def test_configurations_are_checked(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        DistillationConfig(**{name: value})
