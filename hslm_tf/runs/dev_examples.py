"""A few queries on the dev split and how they are answered, for TensorBoard."""

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.evaluation.watched_scores import WatchedScores
from hslm_tf.report.answered_query import AnsweredQuery
from hslm_tf.report.drawing import COLOURS
from hslm_tf.report.tiles import mosaic, photo_tile

_QUERIES = 4
_SIDE = 128
_RIGHT, _WRONG = COLOURS[:2]


class DevExamples:
    """The same few images and their first captions as queries after every validation.

    Args:
        dataset: the dev split.
        images: folder with the photographs, or None.
    """

    def __init__(self, dataset: RetrievalDataset, images: str | None) -> None:
        self._dataset, self._folder = dataset, images
        self._images = np.unique(np.linspace(0, dataset.num_images - 1, _QUERIES).astype(int))
        _, first_captions = np.unique(dataset.caption_to_image, return_index=True)
        self._captions = first_captions[self._images]
        self._ids = ids_or_numbers(dataset)
        self._image_texts = [
            f"{image_id}: {dataset.captions[caption]}"
            for image_id, caption in zip(self._ids, first_captions, strict=True)
        ]

    def watched_scores(self) -> WatchedScores:
        """Makes what collects the scores of the queries."""
        dataset = self._dataset
        return WatchedScores(
            dataset.caption_to_image, dataset.num_images, self._images, self._captions
        )

    def write(self, seen: WatchedScores, step: int) -> None:
        """Writes the first answers to the default summary writer.

        Args:
            seen: scores of the whole split.
            step: the epoch.
        """
        captions, own = self._dataset.captions, self._dataset.caption_to_image
        for place, (image, caption) in enumerate(zip(self._images, self._captions, strict=True)):
            name = f"query_{place + 1}"
            found = AnsweredQuery.from_scores(
                f"Caption: {captions[caption]}",
                seen.caption_scores[place],
                np.arange(len(self._ids)) == image,
            )
            tf.summary.text(f"t2i_answers/{name}", found.as_markdown(self._image_texts), step)
            if self._folder is not None:
                tf.summary.image(f"t2i_photographs/{name}", self._photographs(found)[None], step)
            found = AnsweredQuery.from_scores(
                f"Image: {self._image_texts[image]}", seen.image_scores[place], own == image
            )
            tf.summary.text(f"i2t_answers/{name}", found.as_markdown(captions), step)

    def write_queries(self, step: int) -> None:
        """Writes the photographs that are queries, which never change.

        Args:
            step: the epoch.
        """
        for place, image in enumerate(self._images if self._folder is not None else ()):
            tile = photo_tile(self._folder, self._ids[image], 2 * _SIDE)
            tf.summary.image(f"i2t_photographs/query_{place + 1}", tile[None], step)

    def _photographs(self, found: AnsweredQuery) -> np.ndarray:
        tiles = [
            photo_tile(self._folder, self._ids[answer], _SIDE, _RIGHT if right else _WRONG)
            for answer, right in zip(found.answers, found.right, strict=True)
        ]
        return mosaic(np.stack(tiles), rows=1, columns=len(tiles))
