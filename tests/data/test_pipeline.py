import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.data import load_dataset
from hslm_tf.data.pipeline import epoch_order, steps_per_epoch, training_batches
from tests.data.split_files import (
    IMAGES,
    REGIONS,
    WIDTH,
    anonymous_memory,
    captions_of,
    write_sparse_array,
    write_split,
)


class NumberedTokens:
    """Caption i is the i % 3 + 1 tokens i + 1."""

    def __init__(self, num_captions):
        self.num_captions = num_captions

    def __len__(self):
        return self.num_captions

    def padded(self, rows):
        lengths = rows % 3 + 1
        real = np.arange(lengths.max()) < lengths[:, None]
        return np.where(real, rows[:, None] + 1, 0).astype(np.int32)


@pytest.fixture
def dataset(tmp_path):
    return load_dataset(write_split(tmp_path), "train")


def captions_seen(batches):
    return np.concatenate([batch["token_ids"][:, 0].numpy() - 1 for batch in batches])


def test_batches(dataset):
    batches = list(training_batches(dataset, NumberedTokens(30), batch_size=8, seed=3))
    assert [len(batch["image_index"]) for batch in batches] == [8, 8, 8, 6]
    assert len(batches) == steps_per_epoch(dataset, 8)
    np.testing.assert_array_equal(captions_seen(batches), epoch_order(30, 3, 0))
    for batch in batches:
        captions = batch["token_ids"][:, 0].numpy() - 1
        images = dataset.caption_to_image[captions]
        regions, mask = dataset.read_images(images)
        np.testing.assert_array_equal(batch["image_index"], images)
        np.testing.assert_array_equal(batch["region_features"], regions)
        np.testing.assert_array_equal(batch["region_mask"], mask)
        np.testing.assert_array_equal(batch["token_ids"], NumberedTokens(30).padded(captions))


def test_types_and_shapes_are_known_before_reading(dataset):
    batches = training_batches(dataset, NumberedTokens(30), batch_size=7)
    assert batches.cardinality() == 5
    spec = batches.element_spec
    assert spec["region_features"] == tf.TensorSpec((None, REGIONS, WIDTH), tf.float32)
    assert spec["region_mask"] == tf.TensorSpec((None, REGIONS), tf.bool)
    assert spec["token_ids"] == tf.TensorSpec((None, None), tf.int32)
    assert spec["image_index"] == tf.TensorSpec((None,), tf.int32)


def test_order_is_a_function_of_seed_and_epoch(dataset):
    tokens = NumberedTokens(30)
    batches = training_batches(dataset, tokens, batch_size=4, seed=5)
    orders = [captions_seen(batches) for _ in range(3)]
    for epoch, order in enumerate(orders):
        np.testing.assert_array_equal(order, epoch_order(30, 5, epoch))
        np.testing.assert_array_equal(np.sort(order), np.arange(30))
    assert not np.array_equal(orders[0], orders[1])
    resumed = training_batches(dataset, tokens, batch_size=4, seed=5, start_epoch=2)
    np.testing.assert_array_equal(captions_seen(resumed), orders[2])
    assert not np.array_equal(epoch_order(30, 5, 1), epoch_order(30, 1, 5))


def test_a_stopped_pass_counts_as_an_epoch(dataset):
    batches = training_batches(dataset, NumberedTokens(30), batch_size=4)
    next(iter(batches))
    np.testing.assert_array_equal(captions_seen(batches), epoch_order(30, 0, 1))


def test_non_finite_features_name_file_and_row(tmp_path):
    regions = np.zeros((IMAGES, REGIONS, WIDTH), np.float32)
    regions[3, 0, 0] = np.inf
    dataset = load_dataset(write_split(tmp_path, full=False, ims=regions), "train")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"train_ims.npy, row 3: features"):
        list(training_batches(dataset, NumberedTokens(30), batch_size=8))


def test_mismatched_arguments(dataset):
    with pytest.raises(ValueError, match=r"Received: len\(tokens\)=29"):
        training_batches(dataset, NumberedTokens(29), batch_size=8)
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        training_batches(dataset, NumberedTokens(30), batch_size=0)


def test_anonymous_memory_does_not_grow_with_the_file(tmp_path):
    images = 1600
    size = write_sparse_array(tmp_path / "train_ims.npy", (images, 36, 2048))
    (tmp_path / "train_caps.txt").write_text("\n".join(captions_of(images, 1)))
    dataset = load_dataset(tmp_path, "train", "per_image")
    batches = training_batches(dataset, NumberedTokens(images), batch_size=16)
    before = anonymous_memory()
    growth = [anonymous_memory() - before for _ in batches]
    assert len(growth) == 100
    assert size > 450e6
    assert max(growth) < 128e6
