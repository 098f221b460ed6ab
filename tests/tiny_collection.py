"""A tiny model and a dataset in memory, to make collections of."""

import numpy as np

from hslm_tf.config import ModelConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.model import HSLM
from tests.tiny_model import SIZES, WORDS, random_images, randomize_model


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
