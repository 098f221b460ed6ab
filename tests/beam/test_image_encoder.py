import shutil

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import RunInference

from hslm_tf.beam.elements import ImageFeatures
from hslm_tf.beam.image_encoder import ImageEncoder
from hslm_tf.data.errors import DataError
from hslm_tf.serving.request_rows import Status
from tests.beam.conftest import too_large
from tests.beam.results import kept_results
from tests.tiny_model import random_images


def examples(*sizes: tuple[int, int]) -> list[ImageFeatures]:
    """Examples of some images, with some regions each."""
    found = []
    for seed, (images, regions) in enumerate(sizes):
        features, mask = random_images(images, seed)
        counts = mask[:, :regions].sum(axis=1).astype(np.int32)
        found.append(ImageFeatures(features[:, :regions].astype(np.float32), counts))
    return found


def assert_encoded(small, example, prediction):
    """The prediction is what the model and its heads compute in this process."""
    regions = example.region_features.shape[1]
    mask = np.arange(regions) < example.num_regions[:, None]
    expected = small.model.encode_image(example.region_features, mask)
    assert (prediction["status"] == Status.OK).all()
    np.testing.assert_array_equal(prediction["region_mask"], mask)
    for found, wanted in (
        (prediction["regions"][mask], expected["regions"].numpy()[mask]),
        (prediction["image_global"], expected["image_global"]),
        (prediction["vector"], small.heads.image_vectors(expected)),
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_pipeline_encodes_as_the_model_does(small):
    """Examples of one and of several images, of fewer regions, and without any image."""
    given = examples((1, 6), (130, 6), (3, 4), (0, 6), (1, 2))

    def build(pipeline):
        encoder = ImageEncoder(str(small.path), max_batch_size=3)
        return [pipeline | beam.Create(given) | RunInference(encoder)]

    (found,) = kept_results(build)
    assert len(found) == len(given)
    for result in found:
        assert_encoded(small, result.example, result.inference)
    sizes = sorted(result.example.region_features.shape for result in found)
    assert sizes == sorted(example.region_features.shape for example in given)


def test_what_is_wrong_with_an_image_is_its_own_matter(small):
    encoder = ImageEncoder(str(small.path))
    good, spoiled = examples((2, 6), (5, 4))
    spoiled.region_features[0, 0, 0] = np.nan
    spoiled.region_features[1, 1] = too_large(small.model)
    spoiled.num_regions[:] = [2, 4, 0, 5, -1]
    first, second = encoder.run_inference([good, spoiled], encoder.load_model())
    assert_encoded(small, good, first.inference)
    found = second.inference
    wrong = [Status.NOT_FINITE, Status.NOT_FINITE, Status.NO_REGIONS, Status.TOO_MANY_REGIONS]
    np.testing.assert_array_equal(found["status"], [*wrong, Status.OK])
    assert np.isnan(found["regions"][:4]).all() and np.isfinite(found["regions"][4]).all()
    assert found["region_mask"][4].all()


@pytest.mark.parametrize("name", ["saved_model.pb", "variables.index", "variables.data-*"])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", None])
def test_a_damaged_model_is_one_line(name, damage, small, tmp_path):
    model = shutil.copytree(small.path, tmp_path / "m")
    (file,) = model.rglob(name)
    content = file.read_bytes()
    file.unlink() if damage is None else file.write_bytes(damage(content))
    with pytest.raises(DataError, match="m is no exported model: .") as error:
        ImageEncoder(str(model)).load_model()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(2, 7, 12), (2, 6, 11), (2, 12)])
def test_another_shape_is_refused(small, shape):
    encoder = ImageEncoder(str(small.path))
    example = ImageFeatures(np.zeros(shape, np.float32), np.ones(2, np.int32))
    with pytest.raises(ValueError, match=r"at most 6 regions, 12\]. Received: region_features"):
        list(encoder.run_inference([example], encoder.load_model()))


def test_what_is_no_exported_model_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match="nothing"):
        ImageEncoder(str(tmp_path / "nothing")).load_model()
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with pytest.raises(ValueError, match="not an exported model: it has no endpoint encode_image"):
        ImageEncoder(str(tmp_path / "other")).load_model()
    shutil.rmtree(tmp_path / "other")
