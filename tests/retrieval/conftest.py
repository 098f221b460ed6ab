import pytest

from tests.tiny_collection import build, make_dataset, make_model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


@pytest.fixture
def collection(model, dataset):
    return build(model, dataset)
