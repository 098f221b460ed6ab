"""A split of random images for models of `tiny_model`, with boxes and two captions an image."""

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from tests.tiny_model import WORDS, random_images, random_token_ids


def tiny_split(num_images: int = 6, seed: int = 0) -> RetrievalDataset:
    """Images with 2 to 6 real regions; captions of words that the model knows."""
    regions, mask = random_images(num_images, seed)
    corners = np.random.default_rng(seed).uniform(0, 0.5, (*mask.shape, 2))
    ids = random_token_ids(2 * num_images, seed)
    return RetrievalDataset(
        "dev",
        "random",
        regions.astype(np.float32),
        # Without <start> and <end>, which the tokenizer adds.
        [" ".join(WORDS[word] for word in row[row > 2] if word != 3) or "dog" for row in ids],
        np.repeat(np.arange(num_images, dtype=np.int32), 2),
        image_ids=[f"photo {image}" for image in range(num_images)],
        boxes=np.concatenate([corners, corners + 0.4], axis=-1).astype(np.float32),
        num_regions=mask.sum(axis=1).astype(np.int32),
    )
