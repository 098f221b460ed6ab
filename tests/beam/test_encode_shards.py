"""Shards that a pipeline writes, beside what this process computes."""

import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.beam.collecting import collect, write_rejected
from hslm_tf.beam.elements import Rejected, shards_of
from hslm_tf.beam.encode_shards import EncodeShards
from hslm_tf.beam.files import read_shard
from hslm_tf.beam.running import PipelineError, encode, pipeline_options
from hslm_tf.beam.split_source import SplitSource
from hslm_tf.beam.work_folder import Plan, WorkFolder
from hslm_tf.data.errors import DataError
from hslm_tf.data.loading import load_dataset
from hslm_tf.fingerprint import weights_fingerprint
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.projection_heads import new_heads
from tests.beam.bucket import address
from tests.beam.conftest import IMAGES, too_large
from tests.beam.results import kept_results

pytestmark = pytest.mark.usefixtures("exported_before")


def plan_of(dtype="float32", shard_size=10, model="fingerprint") -> Plan:
    return Plan({"split": "mine"}, IMAGES, 5, shard_size, dtype, model)


def encoded(small, folder, out, dtype="float32", **options) -> EncodedDataset:
    """Images of a folder by the pipeline."""
    plan, work = plan_of(dtype, **options), WorkFolder(out)
    encode(SplitSource(str(folder), "mine"), work, plan, *small[:2])
    return collect(work, plan, *small[:2])


def assert_same_images(found, expected, kept, atol):
    assert found.ids == [expected.ids[row] for row in kept]
    assert found.images.regions.dtype == expected.images.regions.dtype
    mask = expected.images.region_mask[kept]
    np.testing.assert_array_equal(found.images.region_mask, mask)
    for one, other in (
        (found.images.regions[:][mask], expected.images.regions[kept][mask]),
        (found.images.image_global[:], expected.images.image_global[kept]),
        (found.vectors, expected.vectors[kept]),
        (found.boxes[:], expected.boxes[kept]),
    ):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-6), ("float16", 2e-3)])
@pytest.mark.parametrize("where", [str, address])
def test_shards_hold_what_this_process_computes(small, folder, tmp_path, dtype, atol, where):
    found = encoded(small, folder, where(tmp_path / "out"), dtype)
    dataset = load_dataset(folder, "mine", captions_optional=True)
    expected = EncodedDataset.encode(*small[:2], dataset, dtype)
    assert_same_images(found, expected, np.arange(IMAGES), atol)
    assert found.captions == [] and len(found.texts) == 0


def test_bad_images_are_rejected_with_their_reasons(small, folder, tmp_path):
    """One of every kind, a whole shard of bad ones, and all others as if these were not there."""
    dataset = load_dataset(folder, "mine", captions_optional=True)
    expected = EncodedDataset.encode(*small[:2], dataset, "float32")
    regions = np.load(folder / "mine_ims.npy")
    boxes = np.load(folder / "mine_boxes.npy")
    regions[[2, 20, 21, 22], 0, 3] = np.nan
    regions[7, 1] = too_large(small.model)
    boxes[12, 0, 1] = np.inf
    np.save(folder / "mine_ims.npy", regions)
    np.save(folder / "mine_boxes.npy", boxes)
    kept = np.setdiff1d(np.arange(IMAGES), [2, 7, 12, 20, 21, 22])
    assert_same_images(encoded(small, folder, str(tmp_path / "out")), expected, kept, 1e-6)
    work = WorkFolder(str(tmp_path / "out"))
    assert write_rejected(work, plan_of()) == 6
    lines = [json.loads(line) for line in open(work.rejected, encoding="utf-8")]
    assert [(line["row"], line["id"]) for line in lines] == [
        (row, f"bild-{row}-ü") for row in (2, 7, 12, 20, 21, 22)
    ]
    assert "row 2: features of region 0 hold nan in column 3" in lines[0]["reason"]
    assert lines[1]["reason"] == "features are not finite, or too large to compute with"
    assert "row 12: boxes of region 0 hold inf in column 1" in lines[2]["reason"]
    assert len(read_shard(work.file_of(plan_of().shards[2]), ["ids"])["ids"]) == 0


class Loud(tf.Module):
    """Stands for a model whose local features can be large."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 6, 12], tf.float32, "region_features"),
            tf.TensorSpec([None], tf.int32, "num_regions"),
        ]
    )
    def encode_image(self, region_features, num_regions):
        return {
            "regions": region_features,
            "region_mask": tf.sequence_mask(num_regions, 6),
            "vector": region_features[:, 0],
            "status": tf.zeros_like(num_regions),
        }


def test_the_dead_letter_output_can_be_used_in_a_pipeline_of_ones_own(folder, tmp_path):
    regions = np.load(folder / "mine_ims.npy")
    regions[4] *= 1e6
    np.save(folder / "mine_ims.npy", regions)
    model, out = str(tmp_path / "model"), str(tmp_path / "shards")
    loud = Loud()
    tf.saved_model.save(loud, model, {"encode_image": loud.encode_image})
    shards = shards_of(IMAGES, 8)

    def build(pipeline):
        source = SplitSource(str(folder), "mine")
        done = pipeline | beam.Create(shards) | EncodeShards(source, model, out, "float16")
        return done["written"], done["rejected"]

    written, rejected = kept_results(build)
    assert sorted(written, key=str) == shards
    assert rejected == [Rejected(4, "bild-4-ü", "a local feature does not fit float16")]
    first = read_shard(f"{out}/{shards[0].file_name}", ["rows", "regions", "boxes"])
    np.testing.assert_array_equal(first["rows"], [0, 1, 2, 3, 5, 6, 7])
    mask = np.arange(5) < np.load(folder / "mine_num_regions.npy")[first["rows"], None]
    expected = np.where(mask[..., None], regions[first["rows"]], 0).astype(np.float16)
    np.testing.assert_array_equal(first["regions"], expected)


def test_nothing_but_bad_images_is_an_error(small, folder, tmp_path):
    np.save(folder / "mine_ims.npy", np.full((IMAGES, 5, 12), np.inf, np.float32))
    with pytest.raises(DataError, match=f"none of {IMAGES} images could be encoded"):
        encoded(small, folder, str(tmp_path / "out"))


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_a_missing_file_fails_the_pipeline_in_one_line(small, folder, tmp_path, mode):
    (folder / "mine_ims.npy").unlink()
    work, plan = WorkFolder(str(tmp_path / "out")), plan_of()
    options = pipeline_options(["--direct_running_mode", mode])
    with pytest.raises(PipelineError, match="the pipeline failed: .*DataError: .*holds no") as e:
        encode(SplitSource(str(folder), "mine"), work, plan, *small[:2], options)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shard_size": 9}, "begun with shard_size 10, not 9"),
        ({"dtype": "float16"}, "begun with dtype 'float32', not 'float16'"),
        ({"model": "another"}, "begun with model 'fingerprint', not 'another'"),
    ],
)
def test_another_plan_is_refused(small, folder, tmp_path, changed, message):
    work = WorkFolder(str(tmp_path / "out"))
    assert len(work.begin(plan_of(), *small[:2])) == 3
    with pytest.raises(DataError, match=message):
        encoded(small, folder, str(tmp_path / "out"), **changed)
    (tmp_path / "out" / "plan.json").write_text("{")
    with pytest.raises(DataError, match="plan.json is not JSON"):
        encoded(small, folder, str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["a[1]", "b*", "c?"])
def test_a_folder_named_like_a_pattern_is_refused(name):
    with pytest.raises(ValueError, match="A folder to work in has none of"):
        WorkFolder(name)


def test_shards_cover_all_images_once():
    shards = shards_of(23, 10)
    assert [(shard.first, shard.last) for shard in shards] == [(0, 10), (10, 20), (20, 23)]
    assert shards[1].file_name == "shard-00001-of-00003.npz"
    for numbers in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match="at least one image"):
            shards_of(*numbers)


def test_other_heads_have_another_fingerprint(small):
    other = new_heads(16, 5, concepts=7)
    one, two = (weights_fingerprint(heads.weights, "model") for heads in (small.heads, other))
    assert one != two and one == weights_fingerprint(small.heads.weights, "model")
