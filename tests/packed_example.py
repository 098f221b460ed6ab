"""Packed captions and padded images with garbage in every padded place, for tests."""

from typing import NamedTuple

import numpy as np

CAPTION_LENGTHS = ((3, 1, 4), (2, 5))
REGION_COUNTS = ((5, 2, 4, 1), (3, 5, 1, 2))


class PackedExample(NamedTuple):
    """Blocks of packed captions against blocks of images, and the same one by one.

    Attributes:
        words: `[2, 10, width]`, captions packed; the second block has one caption less.
        segment_ids: int32 `[2, 10]`, -1 for padding.
        regions: `[2, 4, 7, width]`.
        region_mask: boolean `[2, 4, 7]`.
        captions: `captions[g][t]` are the words `[M, width]` of caption t of block g.
        images: `images[g][b]` are the regions `[N, width]` of image b of block g.
    """

    words: np.ndarray
    segment_ids: np.ndarray
    regions: np.ndarray
    region_mask: np.ndarray
    captions: list[list[np.ndarray]]
    images: list[list[np.ndarray]]


def packed_example(
    width: int, dtype: str = "float32", garbage: float = 100.0, unit: bool = False
) -> PackedExample:
    def draw(rows: int) -> np.ndarray:
        vectors = rng.normal(size=(rows, width))
        if unit:
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors.astype(dtype)

    rng = np.random.default_rng(7)
    words = garbage * rng.normal(size=(2, 10, width)).astype(dtype)
    regions = garbage * rng.normal(size=(2, 4, 7, width)).astype(dtype)
    segment_ids = np.full((2, 10), -1, dtype="int32")
    region_mask = np.zeros((2, 4, 7), dtype=bool)
    captions, images = [], []
    # The same draws whatever the garbage is.
    rng = np.random.default_rng(8)
    for block in range(2):
        captions.append([])
        first = 0
        for caption, length in enumerate(CAPTION_LENGTHS[block]):
            captions[block].append(draw(length))
            words[block, first : first + length] = captions[block][caption]
            segment_ids[block, first : first + length] = caption
            first += length
        images.append([])
        for image, count in enumerate(REGION_COUNTS[block]):
            images[block].append(draw(count))
            regions[block, image, :count] = images[block][image]
            region_mask[block, image, :count] = True
    return PackedExample(words, segment_ids, regions, region_mask, captions, images)
