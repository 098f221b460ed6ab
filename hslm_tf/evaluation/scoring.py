"""Exact scores of all images against all captions, block by block."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.encoding import encode_images
from hslm_tf.models.hslm import HSLM

IMAGE_BLOCK_SIZE = 8
CAPTION_BLOCK_SIZE = 128


def score_matrix(
    model: HSLM, dataset: RetrievalDataset, progress: Callable[[int], object] | None = None
) -> np.ndarray:
    """Scores every image of a dataset against every caption."""
    scores = np.empty((dataset.num_images, dataset.num_captions), np.float32)
    for captions, block in score_blocks([model], dataset, caption_order(model, dataset)):
        scores[:, captions] = block
        if progress is not None:
            progress(len(captions))
    return scores


def score_blocks(
    models: Sequence[HSLM], dataset: RetrievalDataset, captions: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores all images against some captions, block by block; the mean of several models."""
    # Images stay in memory, captions are streamed.
    images = [encode_images(model, dataset) for model in models]
    tokens = [model.tokenizer.tokenize_all(dataset.captions) for model in models]
    for block in row_blocks(len(captions), CAPTION_BLOCK_SIZE):
        rows = captions[block]
        scores = [
            model.score_encoded(
                encoded, model.encode_tokens(ids.padded(rows)), IMAGE_BLOCK_SIZE
            ).numpy()
            for model, encoded, ids in zip(models, images, tokens, strict=True)
        ]
        yield rows, sum(scores[1:], start=scores[0]) / np.float32(len(scores))


def caption_order(model: HSLM, dataset: RetrievalDataset) -> np.ndarray:
    """All captions by length, so that those of a block need little padding."""
    offsets = model.tokenizer.tokenize_all(dataset.captions).offsets
    return np.argsort(np.diff(offsets), kind="stable")
