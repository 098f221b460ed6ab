"""The training step on a model of two linear maps and a scalar product."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.training import HardestNegativeTripletLoss, NegativeCurriculum
from hslm_tf.training.trainer import WATCHED, RetrievalTrainer
from tests.layer_test import assert_close
from tests.oracles.triplet_loss import triplet_loss
from tests.training.helpers import dense, encoded

WIDTH, TOKENS = 5, 30


class ScalarProduct(RetrievalTrainer):
    """Scores the mean region against the mean word."""

    def __init__(self, dropout: float = 0.0) -> None:
        regions = keras.Input((None, WIDTH), dtype="float32", name="region_features")
        region_mask = keras.Input((None,), dtype="bool", name="region_mask")
        pooled = keras.layers.GlobalAveragePooling1D()(regions, mask=region_mask)
        image = keras.layers.Dense(WIDTH, use_bias=False)(pooled)
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        words = keras.layers.Embedding(TOKENS, WIDTH, mask_zero=True)(token_ids)
        words = keras.layers.Dropout(dropout, seed=1)(words)
        text = keras.layers.GlobalAveragePooling1D()(words)
        image_inputs = {"region_features": regions, "region_mask": region_mask}
        text_inputs = {"token_ids": token_ids}
        score = keras.layers.Dot(axes=-1)([image, text])
        super().__init__({**image_inputs, **text_inputs}, {"score": score})
        self.image_encoder = keras.Model(image_inputs, {"vector": image})
        self.text_encoder = keras.Model(text_inputs, {"vector": text})

    def score_rows(self, images, texts, image_rows, text_rows):
        return tf.gather_nd(
            self.score_all(images, texts), tf.stack([image_rows, text_rows], axis=1)
        )

    def score_all(self, images, texts):
        return tf.matmul(
            tf.cast(images["vector"], tf.float32),
            tf.cast(texts["vector"], tf.float32),
            transpose_b=True,
        )


def random_data(batch: int = 12, seed: int = 0) -> dict[str, tf.Tensor]:
    """Few different words, so that the embedding's gradient has the same row many times."""
    rng = np.random.default_rng(seed)
    mask = np.arange(4) < rng.integers(1, 5, (batch, 1))
    # The values of half precision, so that rounding the input makes no difference.
    regions = rng.integers(-8, 9, (batch, 4, WIDTH)) / 8
    token_ids = rng.integers(1, 9, (batch, 6)) * (np.arange(6) < rng.integers(2, 7, (batch, 1)))
    return {
        "region_features": tf.constant(regions, tf.float32),
        "region_mask": tf.constant(mask),
        "token_ids": tf.constant(token_ids, tf.int32),
        "image_index": tf.constant(np.arange(batch) // 2, tf.int32),
    }


def compiled(optimizer: keras.Optimizer, policy: str = "float32", **kwargs) -> ScalarProduct:
    """A model with the same weights under any policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = ScalarProduct(kwargs.pop("dropout", 0.0))
        loss = HardestNegativeTripletLoss(kwargs.pop("margin", 1.0), **kwargs)
        model.compile(optimizer, loss)
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(9)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def weights_of(model: ScalarProduct) -> list[np.ndarray]:
    return [np.asarray(variable).copy() for variable in model.trainable_variables]


def dense_gradients(model: ScalarProduct, data: dict) -> list[np.ndarray]:
    """Gradient of the loss over the whole matrix, in float32 and without clipping."""
    with tf.GradientTape() as tape:
        scores = model.score_all(*encoded(model, data))
    expected = triplet_loss(scores, data["image_index"].numpy(), model.retrieval_loss.margin)
    slopes = tf.constant(expected.score_gradient, tf.float32)
    return [x.numpy() for x in dense(tape.gradient(scores, model.trainable_variables, slopes))]


def reported(metrics: dict[str, tf.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def norm_of(gradients: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients)))


def test_step_changes_weights_and_reports():
    model = compiled(keras.optimizers.Adam(0.01))
    before = weights_of(model)
    report = reported(model.train_step(random_data()))
    for old, new in zip(before, weights_of(model), strict=True):
        assert np.any(old != new)
    assert set(report) == {*WATCHED, "gradient_norm", "candidate_fraction", "skipped_steps"}
    assert all(np.isfinite(list(report.values())))
    assert model.optimizer.iterations == 1


@pytest.mark.parametrize(
    "policy, tolerance", [("float32", 1e-5), ("mixed_float16", 1e-2), ("mixed_bfloat16", 5e-2)]
)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_clipping_and_gradient_norm(policy, tolerance, clip):
    """The gradient that clipping and the report see is the whole one, without the loss scale."""
    data = random_data()
    gradients = dense_gradients(compiled("sgd"), data)
    norm = norm_of(gradients)
    assert norm > 1.0

    model = compiled(keras.optimizers.SGD(1.0, global_clipnorm=clip), policy)
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    if scaled:
        # The initial scale leaves the range of float16, and the first steps would be skipped.
        model.optimizer.build(model.trainable_variables)
        model.optimizer.dynamic_scale.assign(256.0)
    before = weights_of(model)
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    report = reported(model.train_step(data))
    factor = 1.0 if clip is None else clip / norm
    for old, new, gradient in zip(before, weights_of(model), gradients, strict=True):
        assert_close(old - new, factor * gradient, tolerance)
    assert_close(report["gradient_norm"], norm, tolerance)


def test_adam_sees_the_sum_of_a_words_gradients():
    """Two steps of Adam equal those on dense gradients, however often a word occurs."""
    model, data = compiled(keras.optimizers.Adam(0.01, epsilon=1e-12)), random_data()
    before = weights_of(model)
    model.train_step(data)
    model.train_step(data)
    twin, optimizer = compiled("sgd"), keras.optimizers.Adam(0.01, epsilon=1e-12)
    for _ in range(2):
        gradients = [tf.constant(gradient) for gradient in dense_gradients(twin, data)]
        optimizer.apply(gradients, twin.trainable_variables)
    for old, new, expected in zip(before, weights_of(model), weights_of(twin), strict=True):
        assert_close(new - old, expected - old, 1e-4)


def test_metrics_are_means_of_the_epoch():
    data = [random_data(12, seed=0), random_data(5, seed=1)]
    expected = []
    for batch in data:
        # A rate of nearly zero: both batches meet the same weights.
        model = compiled(keras.optimizers.SGD(1e-12))
        expected.append(reported(model.train_step(batch)))
    assert expected[0]["loss"] != expected[1]["loss"]

    model = compiled(keras.optimizers.SGD(1e-12))
    batches = [tf.data.Dataset.from_tensors(batch) for batch in data]
    dataset = batches[0].concatenate(batches[1])
    history = model.fit(dataset, epochs=2, verbose=0, validation_data=dataset).history
    for name in expected[0]:
        mean = (expected[0][name] + expected[1][name]) / 2
        assert history[name] == pytest.approx([mean, mean], rel=1e-5), name
    assert history["val_loss"] == pytest.approx(history["loss"], rel=1e-5)


def test_test_step_takes_all_negatives_and_leaves_the_weights():
    data = random_data()
    curriculum = NegativeCurriculum(random_steps=10, growing_steps=10)
    model = compiled(keras.optimizers.SGD(1.0), curriculum=curriculum, dropout=0.5)
    before = weights_of(model)
    report = reported(model.test_step(data))
    scores = model.score_all(*encoded(model, data)).numpy()
    expected = triplet_loss(scores, data["image_index"].numpy(), margin=1.0)
    assert report["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert report["positive_score"] == pytest.approx(np.mean(np.diag(scores)), rel=1e-5)
    places = np.arange(len(scores))
    negatives = [scores[places, expected.hardest_captions], scores[expected.hardest_images, places]]
    assert report["negative_score"] == pytest.approx(np.mean(negatives), rel=1e-5)
    assert set(report) == set(WATCHED)
    for old, new in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(old, new)
    model.reset_metrics()
    random_report = reported(model.train_step(data))
    assert random_report["candidate_fraction"] == 0
    assert random_report["negative_score"] < report["negative_score"]


def test_two_runs_with_the_same_seed_are_equal():
    def run(seed: int) -> list[np.ndarray]:
        curriculum = NegativeCurriculum(random_steps=3, growing_steps=4)
        model = compiled(keras.optimizers.Adam(0.05), curriculum=curriculum, seed=seed, dropout=0.3)
        dataset = tf.data.Dataset.from_tensors(random_data()).repeat(10)
        history = model.fit(dataset, verbose=0).history
        return [*weights_of(model), history["loss"], history["candidate_fraction"]]

    first, second, other = run(0), run(0), run(1)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first[0] != other[0]) and first[-1] == other[-1]


def test_default_loss_has_the_curriculum():
    model = ScalarProduct()
    model.compile()
    assert isinstance(model.retrieval_loss.curriculum, NegativeCurriculum)
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_compile_config():
    model = ScalarProduct()
    assert model.get_compile_config() == {} and model.metrics == []
    model.compile_from_config({})
    assert not model.compiled
    loss = HardestNegativeTripletLoss(0.4, NegativeCurriculum(3, 5), seed=8)
    model.compile(keras.optimizers.SGD(0.25, global_clipnorm=3.0), loss, steps_per_execution=2)
    config = model.get_compile_config()
    twin = ScalarProduct()
    twin.compile_from_config(config)
    assert twin.get_compile_config() == config
    assert twin.steps_per_execution == 2 and not twin.run_eagerly
    assert twin.optimizer.global_clipnorm == 3.0 and twin.optimizer.learning_rate == 0.25
    assert twin.retrieval_loss.get_config() == loss.get_config()


def test_a_batch_may_leave_out_the_mask_and_the_index_of_images():
    data = random_data()
    data["region_mask"] = tf.ones_like(data["region_mask"])
    data["image_index"] = tf.range(len(data["token_ids"]))
    plain = {key: data[key].numpy() for key in ("region_features", "token_ids")}
    optimizers = keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1)
    models = [compiled(optimizer) for optimizer in optimizers]
    models[0].fit(data, batch_size=12, shuffle=False, verbose=0)
    models[1].fit(plain, batch_size=12, shuffle=False, verbose=0)
    for one, other in zip(weights_of(models[0]), weights_of(models[1]), strict=True):
        assert_close(one, other)
    losses = [model.evaluate(x, verbose=0) for model, x in zip(models, (data, plain), strict=True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 4, WIDTH)), None, "A batch is a dict .* Received: ndarray"),
        ((np.zeros((2, 4, WIDTH)), ["a", "b"]), None, "A batch is a dict .* Received: tuple"),
        ({"region_features": np.zeros((2, 4, WIDTH))}, None, r"Received: \['region_features'\]"),
        ({**random_data(), "image_index": np.zeros(3)}, None, "as many rows.*'image_index': 3"),
        (random_data(), np.zeros(12), "neither targets nor weights.* Received: y="),
    ],
)
def test_what_is_no_batch_is_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        compiled(keras.optimizers.Adam()).fit(x, y, verbose=0)
