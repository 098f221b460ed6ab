"""The client against servers of the SavedModel."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.serving.client import Client, RowError, ServerError
from hslm_tf.serving.request_rows import Status
from tests.serving import rest_server
from tests.serving.exported import (
    BAD_ROWS,
    CAPTIONS,
    HUBNESS,
    MAX_TOKENS,
    float32_images,
    good_request,
    scores_of,
    spoil,
)

HAS_GRPC = importlib.util.find_spec("tensorflow_serving") is not None


@pytest.fixture(scope="module")
def rest_url(signatures):
    with rest_server.serving(signatures) as url:
        yield url


@pytest.fixture(scope="module")
def grpc_url(exported, signatures):
    if not HAS_GRPC:
        pytest.skip("needs the extra `client`")
    from tests.serving.grpc_server import serving

    with serving(exported.path, signatures) as url:
        yield url


@pytest.fixture(params=["rest", "grpc"])
def url(request):
    return request.getfixturevalue(f"{request.param}_url")


def test_five_calls(exported, url):
    client, model = Client(url, timeout=60), exported.model
    regions, mask = float32_images(4)
    counts = mask.sum(axis=1)
    scores = model.score(regions, CAPTIONS, mask, matrix=True).numpy()
    np.testing.assert_allclose(
        client.score(regions, CAPTIONS, counts), np.diagonal(scores), atol=1e-5
    )
    images = client.encode_image(regions, counts)
    assert set(images) == {"regions", "region_mask", "vector"}
    np.testing.assert_allclose(
        images["regions"], model.encode_image(regions, mask)["regions"], atol=1e-5
    )
    np.testing.assert_allclose(client.score_matrix(images, CAPTIONS[:3]), scores[:, :3], atol=1e-5)
    texts = client.encode_text(CAPTIONS)
    assert texts["words"].shape == (4, MAX_TOKENS, 16) and texts["words"].dtype == np.float32
    assert texts["word_mask"].dtype == bool
    found = client.search(CAPTIONS[:1], k=3)
    collection = model.score_encoded(exported.collection, model.encode_text(CAPTIONS[:1]))
    scores = collection.numpy()[:, 0] - HUBNESS
    best = np.argsort(-scores)[:3]
    assert [hit.id for hit in found[0]] == [f"bild-{place}-ü" for place in best]
    np.testing.assert_allclose([hit.score for hit in found[0]], scores[best], atol=1e-5)


def test_padding_is_never_taken_for_regions(exported, url):
    client = Client(url, timeout=60)
    regions, _ = float32_images(3)
    short = regions[:, :4]
    mask = np.arange(4) < np.array([2, 4, 4])[:, None]
    expected = exported.model.score(short, CAPTIONS[:3], mask).numpy()
    np.testing.assert_allclose(client.score(short, CAPTIONS[:3], [2, 4, -1]), expected, atol=1e-5)
    np.testing.assert_allclose(client.score(short, CAPTIONS[:3])[1:], expected[1:], atol=1e-5)
    with pytest.raises(RowError, match=r"row\[2\]: num_regions exceeds") as info:
        client.score(short, CAPTIONS[:3], [2, 4, 5])
    assert info.value.statuses == {"row[2]": Status.TOO_MANY_REGIONS}
    np.testing.assert_allclose(info.value.answer["score"][:2], expected[:2], atol=1e-5)
    with pytest.raises(ValueError, match=r"one whole number an image.*\[2.5, 1, 1\]"):
        client.score(short, CAPTIONS[:3], [2.5, 1, 1])


def test_bad_rows_are_named(exported, url):
    client = Client(url, timeout=60)
    request = good_request(6)
    expected = scores_of(exported.model, request)
    spoil(request, 1, "nan")
    spoil(request, 4, "empty")
    with pytest.raises(RowError, match=r"row\[1\]: features are .*; row\[4\]: the caption") as info:
        client.score(**request)
    assert info.value.statuses == {
        "row[1]": Status.NOT_FINITE,
        "row[4]": Status.EMPTY_CAPTION,
    }
    good = [0, 2, 3, 5]
    np.testing.assert_allclose(info.value.answer["score"][good], expected[good], atol=1e-5)
    with pytest.raises(RowError, match=r"captions\[1\]: the caption is not valid UTF-8"):
        client.encode_text(["a dog", "a \ud800 dog"])
    with pytest.raises(RowError, match=r"captions\[0\]: the caption has more words"):
        client.search(["dog " * 40])
    images = exported.model.encode_image(*float32_images(2))
    images = {name: np.array(value) for name, value in images.items()}
    images["region_mask"][1] = False
    with pytest.raises(RowError, match=r"images\[1\]: .* no regions; captions\[0\]"):
        client.score_matrix(images, ["", "a dog"])


def test_wrong_shapes_are_never_sent(url):
    client = Client(url, timeout=60)
    for shape in ((2, 6, 11), (2, 7, 12), (2, 72)):
        with pytest.raises(ValueError, match=r"at most 6 regions, 12\]. Received"):
            client.encode_image(np.zeros(shape))
    with pytest.raises(ValueError, match="one caption an image"):
        client.score(np.zeros((2, 6, 12)), ["a"])
    with pytest.raises(ValueError, match="one whole number an image"):
        client.score(np.zeros((2, 6, 12)), ["a", "b"], [6])
    with pytest.raises(ValueError, match="list of captions"):
        client.encode_text("a dog")
    with pytest.raises(ValueError, match="gives 1 to 5 images"):
        client.search(["a dog"], k=6)


def test_what_the_server_refuses(url):
    with pytest.raises(ServerError, match="Servable not found"):
        Client(url, model="other", timeout=60, retries=0).encode_text(["a dog"])
    bad = {
        "region_features": np.zeros((1, 6, 11), np.float32),
        "num_regions": np.array([6], np.int32),
    }
    with pytest.raises(ServerError):
        Client(url, timeout=60)._transport.predict("encode_image", bad)


@pytest.mark.parametrize(
    "name, axes", [("pixels", [None]), ("captions", []), ("region_features", [None, 6, 12])]
)
def test_a_model_with_other_inputs_is_named(name, axes, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec(axes, tf.float32, name=name)])
    def score(x):
        return {"score": tf.reduce_sum(x)}

    module = tf.Module()
    tf.saved_model.save(module, str(tmp_path), signatures={"score": score, "encode_image": score})
    loaded = tf.saved_model.load(str(tmp_path))
    message = f"^the endpoint .* takes {name}, and is sent region_features, num_regions[^\n]*$"
    with rest_server.serving(loaded.signatures) as url, pytest.raises(ServerError, match=message):
        Client(url, timeout=60).encode_image(np.zeros((2, 6, 12)))


def test_concurrent_good_and_bad_requests(exported, rest_url):
    client = Client(rest_url, timeout=120)
    kinds = list(BAD_ROWS)
    requests = [good_request(2, seed=number % 7) for number in range(7)]
    expected = [scores_of(exported.model, request) for request in requests]

    def ask(number):
        request = {name: value.copy() for name, value in requests[number % 7].items()}
        if number % 2 == 0:
            return number, client.score(**request)
        status = spoil(request, 1, kinds[number // 2 % len(kinds)])
        try:
            client.score(**request)
        except RowError as error:
            return number, (error.statuses == {"row[1]": status}, error.answer["score"][0])
        return number, None

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(100)))
    for number, answer in answers:
        if number % 2 == 0:
            np.testing.assert_allclose(answer, expected[number % 7], atol=1e-5)
        else:
            assert answer is not None and answer[0], number
            assert answer[1] == pytest.approx(expected[number % 7][0], abs=1e-5)


def test_other_urls():
    with pytest.raises(ValueError, match="url='localhost:8501'"):
        Client("localhost:8501")


def test_grpc_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"hslm-tf\[client\]"):
        Client("grpc://localhost:8500")


def test_importing_the_client_does_not_load_tensorflow():
    script = "import sys, hslm_tf.serving.client; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
