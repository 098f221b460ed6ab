"""Ranks, and what is worth seeing, of a matrix of scores that is never whole in memory."""

from collections.abc import Mapping

import numpy as np

from hslm_tf.evaluation.ranks import check_captions, check_numbers

# With fewer pending scores, it is not worth looking for those that can be dropped.
_FEW_PENDING = 1 << 20
_PENDING = ("images", "values", "counts")


class StreamingRanks:
    """The ranks that `ranks` returns, from blocks of columns in any order.

    The rank of a caption is known when its column has come. The rank of an image is the number of
    captions of other images that score at least as high as the best of its captions; it is known
    when the last of its captions has come. Until then, scores of other captions that are at least
    as high as its best score so far are kept, since they may count; lower scores are dropped, since
    that best score can only rise. Equal scores of a block are kept as one value and a count. So the
    ranks are exact.

    Memory: with five captions an image in random order, at most a fifteenth of the matrix is kept
    while images wait for their first caption, and about as much again if scores are random.

    Args:
        caption_to_image: int `[num_captions]`, the image of each caption; every image has one
            caption or more.
        num_images: number of images.

    Raises:
        ValueError: if `caption_to_image` holds no integers, or an image has no caption.
    """

    def __init__(self, caption_to_image: np.ndarray, num_images: int) -> None:
        self._image = np.asarray(caption_to_image)
        check_captions(self._image, num_images, len(self._image))
        self._t2i = np.full(len(self._image), -1, np.int64)
        self._best = np.full(num_images, -np.inf)
        self._unseen = np.bincount(self._image, minlength=num_images)
        self._above = np.zeros(num_images, np.int64)
        self._pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._limit = _FEW_PENDING

    @property
    def num_captions(self) -> int:
        """Number of captions whose columns have been added."""
        return int(np.count_nonzero(self._t2i >= 0))

    @property
    def num_pending(self) -> int:
        """Number of scores that are kept because they may still count."""
        return sum(len(values) for _, values, _ in self._pending)

    def add(self, scores: np.ndarray, captions: np.ndarray) -> None:
        """Takes the columns `[num_images, b]` of some captions, none of them twice."""
        scores, captions = np.asarray(scores), np.asarray(captions)
        if scores.shape != (len(self._best), len(captions)):
            raise ValueError(
                f"A block holds scores of {len(self._best)} images and {len(captions)} captions. "
                f"Received: scores.shape={scores.shape}"
            )
        twice = len(np.unique(captions)) < len(captions) or (self._t2i[captions] >= 0).any()
        if twice:
            raise ValueError(f"A caption comes twice. Received: captions={captions}")
        check_numbers(scores, captions)
        images, columns = self._image[captions], np.arange(len(captions))
        positive = scores[images, columns]
        self._t2i[captions] = np.count_nonzero(scores >= positive, axis=0) - 1
        np.maximum.at(self._best, images, positive)
        np.subtract.at(self._unseen, images, 1)

        above = scores >= self._best[:, None]
        above[images, columns] = False
        final = self._unseen == 0
        self._above[final] += np.count_nonzero(above[final], axis=1)
        above[final] = False
        rows, columns = np.nonzero(above)
        values = scores[rows, columns]
        if len(values):
            self._pending.append(_joined(rows.astype(np.int32), values))
        if self.num_pending > self._limit:
            self._compact()

    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of the right answers, from 0: of every image, and of every caption."""
        missing = np.flatnonzero(self._t2i < 0)
        if missing.size:
            raise ValueError(
                f"Ranks need every caption. Received: no scores of {missing.size} captions, the "
                f"first is caption {missing[0]}"
            )
        self._compact()
        return self._above.copy(), self._t2i.copy()

    def state(self) -> dict[str, np.ndarray]:
        """The arrays from which `restore` continues."""
        self._compact()
        columns = map(np.concatenate, zip(*self._pending, strict=True))
        pending = dict(zip(_PENDING, columns, strict=True)) if self._pending else {}
        return {
            "t2i": self._t2i,
            "best": self._best,
            "unseen": self._unseen,
            "above": self._above,
            **pending,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continues where `state` was called on another object of the same captions."""
        self._t2i, self._best = state["t2i"].copy(), state["best"].copy()
        self._unseen, self._above = state["unseen"].copy(), state["above"].copy()
        self._pending = [tuple(state[key] for key in _PENDING)] if "values" in state else []
        self._compact()

    def _compact(self) -> None:
        """Drops what cannot count any more and counts what is final."""
        # One block after the other: pending scores are much of the memory.
        for place, (images, values, counts) in enumerate(self._pending):
            reaches = values >= self._best[images]
            final = reaches & (self._unseen[images] == 0)
            np.add.at(self._above, images[final], counts[final])
            kept = reaches & ~final
            self._pending[place] = images[kept], values[kept], counts[kept]
        self._pending = [block for block in self._pending if len(block[0])]
        self._limit = max(_FEW_PENDING, 5 * self.num_pending // 4)


def _joined(images: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins equal scores of an image into one with a count."""
    order = np.lexsort((values, images))
    images, values = images[order], values[order]
    changes = (images[1:] != images[:-1]) | (values[1:] != values[:-1])
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    counts = np.diff(first, append=len(images)).astype(np.int32)
    return images[first], values[first], counts


class WatchedScores:
    """Positives and hardest negatives, from blocks of columns.

    Memory is a few numbers for every image and caption.

    Args:
        caption_to_image: int `[num_captions]`, the image of each caption.
        num_images: number of images.

    Attributes:
        positives: float32 `[num_captions]`, score of each caption and its image.
        hardest_images: float32 `[num_captions]`, highest score of each caption and another image.
        hardest_captions: float32 `[num_images]`, highest score of each image and a caption of
            another.
    """

    def __init__(self, caption_to_image: np.ndarray, num_images: int) -> None:
        self._image = np.asarray(caption_to_image)
        num_captions = len(self._image)
        self.positives = np.zeros(num_captions, np.float32)
        self.hardest_images = np.zeros(num_captions, np.float32)
        self.hardest_captions = np.full(num_images, -np.inf, np.float32)

    def add(self, scores: np.ndarray, captions: np.ndarray) -> None:
        """Takes the columns of some captions."""
        pairs = self._image[captions], np.arange(len(captions))
        self.positives[captions] = scores[pairs]
        negatives = scores.copy()
        negatives[pairs] = -np.inf
        self.hardest_images[captions] = negatives.max(axis=0)
        np.maximum(self.hardest_captions, negatives.max(axis=1), out=self.hardest_captions)

    def distributions(self) -> dict[str, np.ndarray]:
        """Histograms by name. A margin above 0 says that the first answer of a query is right."""
        best = np.full_like(self.hardest_captions, -np.inf)
        np.maximum.at(best, self._image, self.positives)
        return {
            "positive": self.positives,
            "hardest_negative_i2t": self.hardest_captions,
            "hardest_negative_t2i": self.hardest_images,
            "margin_i2t": best - self.hardest_captions,
            "margin_t2i": self.positives - self.hardest_images,
        }
