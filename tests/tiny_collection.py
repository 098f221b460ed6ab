"""A tiny model, a dataset in memory, and what tests of collections share."""

import numpy as np

from hslm_tf.config import ModelConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.collection import Collection
from tests.tiny_model import SIZES, WORDS, random_images, randomize_model

QUERIES = ["a red dog runs", "The cat sits on water.", "hat hat"]


def make_model(seed=0, **parts):
    model = HSLM(ModelConfig(**{**SIZES, "mgcn_layers": 1, **parts}), WORDS)
    randomize_model(model, seed)
    return model


def make_dataset(images=12, seed=0, prefix="im", captions=3):
    regions, mask = random_images(images, seed)
    rng = np.random.default_rng(seed)
    words = np.array(WORDS[4:])
    return RetrievalDataset(
        "test",
        "memory",
        regions.astype(np.float32),
        [" ".join(rng.choice(words, rng.integers(2, 7))) for _ in range(images * captions)],
        np.repeat(np.arange(images, dtype=np.int32), captions),
        image_ids=[f"{prefix}{i}" for i in range(images)],
        boxes=rng.uniform(size=(images, 6, 4)).astype(np.float32),
        num_regions=mask.sum(axis=1).astype(np.int32),
    )


def build(model, dataset, dtype="float32", **options):
    return Collection.build(model, dataset, dtype=dtype, **options)


def assert_hits(hits, scores, items, k):
    """Hits are the best k of exhaustive scores, by an independent sort."""
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
    assert [hit.row for hit in hits] == order
    assert [hit.item for hit in hits] == [items[row] for row in order]
    np.testing.assert_allclose([hit.score for hit in hits], scores[order], atol=1e-5)


def assert_same(found, expected):
    """The same hits for every query, scores up to rounding."""
    assert [[hit[::2] for hit in hits] for hits in found] == [
        [hit[::2] for hit in hits] for hits in expected
    ]
    for hits, others in zip(found, expected, strict=True):
        np.testing.assert_allclose([h.score for h in hits], [h.score for h in others], atol=1e-5)


def random_images32(count):
    regions, mask = random_images(count)
    return regions.astype(np.float32), mask
