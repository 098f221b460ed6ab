import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from hslm_tf.serving.endpoints import Endpoints
from hslm_tf.serving.request_rows import Status
from tests.serving.exported import (
    BAD_ROWS,
    CAPTIONS,
    HUBNESS,
    MAX_TOKENS,
    float32_images,
    good_request,
    scores_of,
    spoil,
    tiny_hslm,
)


def ask(endpoint, **inputs):
    specs = {spec.name: spec for spec in tf.nest.flatten(endpoint.structured_input_signature)}
    tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in endpoint(**tensors).items()}


@pytest.mark.parametrize("endpoint", ["score", "serving_default"])
def test_score_equals_the_models(exported, signatures, endpoint):
    request = good_request(4)
    answer = ask(signatures[endpoint], **request)
    np.testing.assert_allclose(answer["score"], scores_of(exported.model, request), atol=1e-5)
    np.testing.assert_array_equal(answer["status"], Status.OK)


def test_encodings_equal_the_models(exported, signatures):
    regions, mask = float32_images(3)
    images = ask(signatures["encode_image"], region_features=regions, num_regions=mask.sum(axis=1))
    expected = exported.model.encode_image(regions, mask)
    np.testing.assert_array_equal(images["region_mask"], mask)
    np.testing.assert_allclose(images["regions"], expected["regions"], atol=1e-5)
    texts = ask(signatures["encode_text"], captions=CAPTIONS)
    expected = exported.model.encode_text(CAPTIONS)
    assert texts["words"].shape == (len(CAPTIONS), MAX_TOKENS, 16)
    longest = expected["words"].shape[1]
    np.testing.assert_array_equal(texts["word_mask"][:, :longest], expected["word_mask"])
    assert not texts["word_mask"][:, longest:].any()
    np.testing.assert_allclose(texts["words"][:, :longest], expected["words"], atol=1e-5)
    for vectors, features, real in (
        (images["vector"], images["regions"], images["region_mask"]),
        (texts["vector"], texts["words"], texts["word_mask"]),
    ):
        means = [rows[kept].mean(axis=0) for rows, kept in zip(features, real, strict=True)]
        unit = [mean / np.linalg.norm(mean) for mean in means]
        np.testing.assert_allclose(vectors, unit, atol=1e-5)


def test_score_matrix_equals_the_models_for_every_request_of_a_batch(exported, signatures):
    captions = [CAPTIONS[:3], CAPTIONS[1:]]
    images = [exported.model.encode_image(*float32_images(5, seed)) for seed in (0, 1)]
    answer = ask(
        signatures["score_matrix"],
        regions=np.stack([image["regions"] for image in images]),
        region_mask=np.stack([image["region_mask"] for image in images]),
        captions=captions,
    )
    assert answer["scores"].shape == (2, 5, 3)
    for seed in (0, 1):
        regions, mask = float32_images(5, seed)
        expected = exported.model.score(regions, captions[seed], mask, matrix=True)
        np.testing.assert_allclose(answer["scores"][seed], expected, atol=1e-5)


def test_search_is_exact_where_all_are_candidates(exported, signatures):
    answer = ask(signatures["search"], captions=CAPTIONS)
    texts = exported.model.encode_text(CAPTIONS)
    scores = exported.model.score_encoded(exported.collection, texts).numpy().T - HUBNESS
    order = np.argsort(-scores, axis=1)[:, :5]
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
    names = [[f"bild-{place}-ü".encode() for place in row] for row in order]
    np.testing.assert_array_equal(answer["ids"], np.array(names, object))


def test_a_bad_row_gets_a_status_and_harms_nobody(exported, signatures):
    rows = 2 * len(BAD_ROWS)
    request = good_request(rows)
    expected = scores_of(exported.model, request)
    statuses = [spoil(request, 2 * row, kind) for row, kind in enumerate(BAD_ROWS)]
    answer = ask(signatures["score"], **request)
    np.testing.assert_allclose(answer["score"][1::2], expected[1::2], atol=1e-5)
    assert np.isnan(answer["score"][::2]).all()
    assert list(answer["status"][::2]) == statuses
    assert not answer["status"][1::2].any()


def test_bad_rows_of_the_other_endpoints(exported, signatures):
    captions = ["a dog", "", b"\xff", "cat " * 40]
    statuses = [0, Status.EMPTY_CAPTION, Status.INVALID_UTF8, Status.TOO_MANY_WORDS]
    texts = ask(signatures["encode_text"], captions=captions)
    assert list(texts["status"]) == statuses
    assert np.isfinite(texts["words"][0]).all() and np.isfinite(texts["vector"][0]).all()
    assert np.isnan(texts["vector"][1:]).all() and not texts["word_mask"][1:].any()
    found = ask(signatures["search"], captions=captions)
    assert list(found["status"]) == statuses
    assert found["ids"][0, 0].startswith(b"bild-") and set(found["ids"][1:].ravel()) == {b""}
    assert np.isnan(found["scores"][1:]).all()

    regions, mask = float32_images(3)
    local = exported.model.encode_image(regions, mask)["regions"].numpy()
    local[1, 0, 0] = np.nan
    mask[2] = False
    answer = ask(
        signatures["score_matrix"], regions=[local], region_mask=[mask], captions=[captions]
    )
    assert list(answer["image_status"][0]) == [0, Status.NOT_FINITE, Status.NO_REGIONS]
    assert list(answer["caption_status"][0]) == statuses
    assert np.isfinite(answer["scores"][0, 0, 0])
    assert np.isnan(answer["scores"]).sum() == 11

    regions[0, 0, 0] = np.inf
    images = ask(signatures["encode_image"], region_features=regions, num_regions=[6, 2, 0])
    assert list(images["status"]) == [Status.NOT_FINITE, 0, Status.NO_REGIONS]
    assert np.isfinite(images["regions"][1]).all() and np.isnan(images["regions"][[0, 2]]).all()


def test_garbage_behind_the_real_regions_does_not_count(exported, signatures):
    request = good_request(4)
    expected = scores_of(exported.model, request)
    for row, count in enumerate(request["num_regions"]):
        request["region_features"][row, count:] = np.nan
    answer = ask(signatures["score"], **request)
    np.testing.assert_allclose(answer["score"], expected, atol=1e-5)


def test_utf8_is_what_python_says(signatures):
    rng = np.random.default_rng(0)
    pieces = [b"a", b"\xc3\xa9", b"\xf0\x9f\x90\x95", b"\xef\xb7\x90", b"\xef\xbb\xbf", b"\x00"]
    pieces += [b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f", b"\xc0\xaf", b"\xf5\x80\x80\x80"]
    # Good pieces are likelier: otherwise nearly nothing would be valid.
    shares = np.array([6] * 6 + [1] * 6) / 42
    texts = [b"a " + b"".join(rng.choice(pieces, rng.integers(1, 5), p=shares)) for _ in range(200)]
    status = ask(signatures["encode_text"], captions=texts)["status"]
    expected = [text.decode("utf-8", "ignore").encode() == text for text in texts]
    assert 40 < sum(expected) < 160
    np.testing.assert_array_equal(status != Status.INVALID_UTF8, expected)


def test_all_regions_are_real_where_their_number_is_minus_one(exported, signatures):
    request = good_request(4)
    request["num_regions"][2] = -1
    everything = {**request, "num_regions": np.full(4, 6, np.int32)}
    third = np.where(np.arange(4) == 2, 6, request["num_regions"])
    expected = scores_of(exported.model, {**request, "num_regions": third})
    np.testing.assert_allclose(ask(signatures["score"], **request)["score"], expected, atol=1e-5)
    expected = scores_of(exported.model, everything)
    alone = {**request, "num_regions": [-1]}
    answer = ask(signatures["score"], **alone)
    np.testing.assert_allclose(answer["score"], expected, atol=1e-5)
    images = ask(
        signatures["encode_image"], region_features=request["region_features"], num_regions=[-1]
    )
    assert images["region_mask"].all()


def test_the_number_of_regions_may_be_left_out(exported):
    """The SavedModel holds the default that a model server puts in its place."""
    saved_model = (exported.path / "saved_model.pb").read_bytes()
    parsed = saved_model_pb2.SavedModel.FromString(saved_model)
    defaults = {
        name: {key: tf.make_ndarray(value).tolist() for key, value in definition.defaults.items()}
        for name, definition in parsed.meta_graphs[0].signature_def.items()
        if definition.defaults
    }
    assert defaults == dict.fromkeys(
        ("score", "serving_default", "encode_image"), {"num_regions": [-1]}
    )


def test_longest_caption_that_fits(signatures):
    captions = ["dog " * (MAX_TOKENS - 2), "dog " * (MAX_TOKENS - 1)]
    answer = ask(signatures["encode_text"], captions=captions)
    assert list(answer["status"]) == [Status.OK, Status.TOO_MANY_WORDS]
    assert answer["word_mask"][0].all()


WRONG_SHAPES = {
    "width": {"region_features": np.zeros((4, 6, 11))},
    "number of regions": {"region_features": np.zeros((4, 5, 12))},
    "rank of regions": {"region_features": np.zeros((4, 72))},
    "rank of captions": {"captions": [["a"]] * 4},
    "rank of counts": {"num_regions": np.full((4, 1), 6)},
    "fewer captions": {"captions": ["a"]},
    "fewer counts": {"num_regions": [6]},
    "no rows": {"region_features": np.zeros((0, 6, 12)), "num_regions": [], "captions": []},
}


@pytest.mark.parametrize("kind", WRONG_SHAPES)
def test_wrong_shape_raises(signatures, kind):
    request = {**good_request(4), **WRONG_SHAPES[kind]}
    with pytest.raises((ValueError, TypeError, tf.errors.InvalidArgumentError)):
        ask(signatures["score"], **request)


def test_features_too_large_to_compute_with(signatures):
    request = good_request(2)
    request["region_features"][0] = 3e38
    request["region_features"][0, ::2] *= -1
    answer = ask(signatures["score"], **request)
    assert np.isfinite(answer["score"][1]) and answer["status"][1] == Status.OK
    if answer["status"][0] == Status.OK:
        assert np.isfinite(answer["score"][0])
    else:
        assert answer["status"][0] == Status.NOT_FINITE and np.isnan(answer["score"][0])


def test_local_features_too_large_to_compute_with(exported, signatures):
    regions, mask = float32_images(2)
    local = exported.model.encode_image(regions, mask)["regions"].numpy()
    local[1] = 3e38
    local[1, ::2] *= -1
    answer = ask(
        signatures["score_matrix"], regions=[local], region_mask=[mask], captions=[CAPTIONS[:2]]
    )
    assert list(answer["image_status"][0]) == [Status.OK, Status.NOT_FINITE]
    assert np.isfinite(answer["scores"][0, 0]).all() and np.isnan(answer["scores"][0, 1]).all()
    assert not answer["caption_status"].any()


@pytest.mark.parametrize(
    "parts",
    [
        {"cross_attention": False, "local_alignment": False},
        {"global_alignment": False, "mgcn": False, "self_attention": False},
    ],
)
def test_ablated_models_have_the_same_endpoints(parts):
    model = tiny_hslm(**parts)
    endpoints = {
        name: function.get_concrete_function()
        for name, function in Endpoints(model).signatures().items()
    }
    request = good_request(3)
    expected = scores_of(model, request)
    answer = ask(endpoints["score"], **request)
    np.testing.assert_allclose(answer["score"], expected, atol=1e-5)
    images = ask(
        endpoints["encode_image"], **{k: request[k] for k in ("region_features", "num_regions")}
    )
    matrix = ask(
        endpoints["score_matrix"],
        regions=images["regions"][None],
        region_mask=images["region_mask"][None],
        captions=[request["captions"]],
    )
    np.testing.assert_allclose(np.diagonal(matrix["scores"][0]), expected, atol=1e-5)


def test_global_vectors_of_images_are_the_models():
    model = tiny_hslm(image_global="regions")
    regions, mask = float32_images(3)
    encode = Endpoints(model).signatures()["encode_image"].get_concrete_function()
    counts = mask.sum(axis=1)
    counts[1] = 0
    found = ask(encode, region_features=regions, num_regions=counts)["image_global"]
    expected = model.encode_image(regions, mask)["image_global"]
    np.testing.assert_allclose(found[[0, 2]], expected.numpy()[[0, 2]], atol=1e-6)
    assert np.isnan(found[1]).all()
