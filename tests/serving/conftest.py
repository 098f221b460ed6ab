import pytest
import tensorflow as tf

from tests.serving.exported import export_tiny


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A small exported model; tests must leave it as it is."""
    return export_tiny(tmp_path_factory.mktemp("exported") / "hslm")


@pytest.fixture(scope="session")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported.path))
    # The signatures do not keep alive what they were loaded with.
    loaded.signatures["score"].owner = loaded
    return loaded.signatures
