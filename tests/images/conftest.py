import pytest

from tests.images.efficientnet_lite import build


@pytest.fixture(scope="session")
def lite0(tmp_path_factory):
    """EfficientNet-Lite0 with its weights for ImageNet, as a `.keras` file."""
    path = tmp_path_factory.mktemp("backbone") / "lite0.keras"
    build(0)[0].save(path)
    return path
