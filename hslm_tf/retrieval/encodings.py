"""Local features of many images and captions, encoded once and kept in float16 or float32."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.model import HSLM
from hslm_tf.retrieval.rows import Rows
from hslm_tf.retrieval.shortlist import Shortlist

StorageType = Literal["float16", "float32"]
_IMAGES_AT_ONCE, _CAPTIONS_AT_ONCE = 100, 256


@dataclass(frozen=True)
class ImageEncodings:
    """What `HSLM.encode_image` gave for n images.

    Args:
        regions: `[n, N, d]`, float16 or float32.
        region_mask: bool `[n, N]`.
        pooled: `[n, d]`, the global features of a model without cross-attention, else None.
    """

    regions: Rows
    region_mask: np.ndarray
    pooled: Rows | None = None

    @classmethod
    def encode(
        cls,
        model: HSLM,
        dataset: RetrievalDataset,
        images: np.ndarray | None = None,
        dtype: StorageType = "float16",
        progress: Callable[[int], None] | None = None,
    ) -> "ImageEncodings":
        """Encodes images of a dataset.

        Args:
            model: the model.
            dataset: the images.
            images: int `[n]`, which ones; None for all.
            dtype: type that the features are kept in.
            progress: called with the number of images after every batch.

        Returns:
            The encodings.

        Raises:
            DataError: if region features are not finite.
            ValueError: if a local feature does not fit the type.
        """
        images = np.arange(dataset.num_images) if images is None else images
        blocks = []
        for first in range(0, len(images), _IMAGES_AT_ONCE):
            rows = images[first : first + _IMAGES_AT_ONCE]
            encoding = model.encode_image(*dataset.read_images(rows))
            blocks.append({key: _narrow(value, dtype) for key, value in encoding.items()})
            if progress is not None:
                progress(len(rows))
        return cls(
            Rows([np.concatenate([block["regions"] for block in blocks])]),
            np.concatenate([block["region_mask"] for block in blocks]),
            Rows([np.concatenate([block["global"] for block in blocks])])
            if "global" in blocks[0]
            else None,
        )

    def __len__(self) -> int:
        return len(self.region_mask)

    def read(self, rows: np.ndarray) -> dict[str, tf.Tensor]:
        """Encodings of some images, as `HSLM.score_encoded` takes them.

        Args:
            rows: int `[b]`.

        Returns:
            As `HSLM.encode_image`, float32.
        """
        encoding = {
            "regions": tf.constant(self.regions[rows].astype(np.float32)),
            "region_mask": tf.constant(self.region_mask[rows]),
        }
        if self.pooled is not None:
            encoding["global"] = tf.constant(self.pooled[rows].astype(np.float32))
        return encoding

    def vectors(self, shortlist: Shortlist) -> np.ndarray:
        """Shortlist vectors of all images.

        Args:
            shortlist: the heads.

        Returns:
            Float32 `[n, dim]`.
        """
        blocks = _blocks(len(self), _IMAGES_AT_ONCE)
        return np.concatenate([shortlist.image_vectors(self.read(rows)) for rows in blocks])

    def select(self, rows: np.ndarray) -> "ImageEncodings":
        """Keeps some images.

        Args:
            rows: int `[b]`.

        Returns:
            Their encodings.
        """
        pooled = None if self.pooled is None else self.pooled.select(rows)
        return ImageEncodings(self.regions.select(rows), self.region_mask[rows], pooled)

    def append(self, other: "ImageEncodings") -> "ImageEncodings":
        """Puts other images behind these.

        Args:
            other: encodings by the same model, as wide, in the same type.

        Returns:
            The encodings of all.
        """
        return ImageEncodings(
            self.regions.append(other.regions),
            np.concatenate([self.region_mask, other.region_mask]),
            None if self.pooled is None else self.pooled.append(other.pooled),
        )


@dataclass(frozen=True)
class CaptionEncodings:
    """What `HSLM.encode_text` gave for n captions, without their padding.

    Args:
        words: `[tokens, d]`, float16 or float32, the words of all captions.
        starts: int64 `[n]`, where the words of each caption start.
        lengths: int64 `[n]`, how many they are.
        pooled: `[n, d]`, the global features, or None in a model without global alignment.
    """

    words: Rows
    starts: np.ndarray
    lengths: np.ndarray
    pooled: Rows | None = None

    @classmethod
    def encode(
        cls,
        model: HSLM,
        captions: Sequence[str],
        dtype: StorageType = "float16",
        progress: Callable[[int], None] | None = None,
    ) -> "CaptionEncodings":
        """Encodes captions.

        Args:
            model: the model.
            captions: n captions as they are written.
            dtype: type that the features are kept in.
            progress: called with the number of captions after every batch.

        Returns:
            The encodings.

        Raises:
            ValueError: if a local feature does not fit the type.
        """
        tokens = model.tokenizer.tokenize_all(captions)
        starts, lengths = tokens.offsets[:-1], np.diff(tokens.offsets)
        width = model.config.joint_dim
        words = np.empty((int(tokens.offsets[-1]), width), dtype)
        pooled = np.empty((len(captions), width), dtype)
        # Captions of a batch have about the same length, so that little is spent on padding.
        order = np.argsort(lengths, kind="stable")
        for first in range(0, len(order), _CAPTIONS_AT_ONCE):
            rows = order[first : first + _CAPTIONS_AT_ONCE]
            texts = model.encode_tokens(tokens.padded(rows))
            places, real = _places(starts[rows], lengths[rows])
            words[places[real]] = _narrow(texts["words"].numpy()[real], dtype)
            if "global" in texts:
                pooled[rows] = _narrow(texts["global"], dtype)
            if progress is not None:
                progress(len(rows))
        with_global = model.config.global_alignment
        return cls(Rows([words]), starts, lengths, Rows([pooled]) if with_global else None)

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, rows: np.ndarray) -> dict[str, tf.Tensor]:
        """Encodings of some captions, as `HSLM.score_encoded` takes them.

        Args:
            rows: int `[b]`.

        Returns:
            As `HSLM.encode_text`, float32, padded to the longest of them.
        """
        places, real = _places(self.starts[rows], self.lengths[rows])
        words = np.zeros((*real.shape, self.words.shape[1]), np.float32)
        words[real] = self.words[places[real]]
        encoding = {"words": tf.constant(words), "word_mask": tf.constant(real)}
        if self.pooled is not None:
            encoding["global"] = tf.constant(self.pooled[rows].astype(np.float32))
        return encoding

    def vectors(self, shortlist: Shortlist) -> np.ndarray:
        """Shortlist vectors of all captions.

        Args:
            shortlist: the heads.

        Returns:
            Float32 `[n, dim]`.
        """
        blocks = _blocks(len(self), _CAPTIONS_AT_ONCE)
        vectors = [shortlist.text_vectors(self.read(rows)) for rows in blocks]
        return np.concatenate([np.zeros((0, shortlist.dim), np.float32), *vectors])

    def in_order(self) -> Rows:
        """The words of all captions, one caption after another, without gaps.

        Returns:
            `[sum of lengths, d]`.
        """
        places, real = _places(self.starts, self.lengths)
        return self.words.select(places[real])

    def select(self, rows: np.ndarray) -> "CaptionEncodings":
        """Keeps some captions.

        Args:
            rows: int `[b]`.

        Returns:
            Their encodings.
        """
        pooled = None if self.pooled is None else self.pooled.select(rows)
        return CaptionEncodings(self.words, self.starts[rows], self.lengths[rows], pooled)

    def append(self, other: "CaptionEncodings") -> "CaptionEncodings":
        """Puts other captions behind these.

        Args:
            other: encodings by the same model in the same type.

        Returns:
            The encodings of all.
        """
        return CaptionEncodings(
            self.words.append(other.words),
            np.concatenate([self.starts, other.starts + len(self.words)]),
            np.concatenate([self.lengths, other.lengths]),
            None if self.pooled is None else self.pooled.append(other.pooled),
        )


def _narrow(values: tf.Tensor | np.ndarray, dtype: StorageType) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype == bool:
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype)
    if not np.isfinite(narrow).all():
        raise ValueError(
            f"A local feature of size {np.abs(values).max():.3g} does not fit the storage type. "
            f"Received: dtype={dtype}"
        )
    return narrow


def _places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the words of captions lie, `[captions, longest]`, and which of them are real."""
    columns = np.arange(lengths.max(initial=0))
    return starts[:, None] + columns, columns < lengths[:, None]


def _blocks(count: int, size: int) -> list[np.ndarray]:
    return [np.arange(first, min(first + size, count)) for first in range(0, count, size)]
