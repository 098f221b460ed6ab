import pytest

from tests.images.efficientnet_lite import build
from tests.images.lite_preset import write_preset


@pytest.fixture(scope="session")
def lite0_preset(tmp_path_factory):
    """EfficientNet-Lite0 with its weights for ImageNet, as a folder of KerasHub."""
    return write_preset(0, tmp_path_factory.mktemp("backbone") / "lite0_preset")


@pytest.fixture(scope="session")
def lite0(tmp_path_factory):
    """EfficientNet-Lite0 with its weights for ImageNet, as a `.keras` file."""
    path = tmp_path_factory.mktemp("backbone") / "lite0.keras"
    build(0)[0].save(path)
    return path
