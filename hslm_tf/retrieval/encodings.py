"""Local features of images and captions, encoded once and kept in float16 or float32."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from hslm_tf.data.atomic_write import naming, take_room
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.encoding import (
    CAPTION_BLOCK_SIZE,
    IMAGE_BLOCK_SIZE,
    encoded_blocks,
    encoded_captions,
)
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.rows import Rows, append_rows, select_rows

StorageType = Literal["float16", "float32"]


@dataclass(frozen=True)
class ImageEncodings:
    """Local features of n images, as `HSLM.encode_image` returns them.

    Args:
        regions: `[n, N, d]`, float16 or float32.
        region_mask: bool `[n, N]`.
        image_global: `[n, d]`, the global vectors of a model that pools the regions, else None.
    """

    regions: Rows
    region_mask: np.ndarray
    image_global: Rows | None = None

    @classmethod
    def encode(
        cls,
        model: HSLM,
        dataset: RetrievalDataset,
        images: np.ndarray | None = None,
        dtype: StorageType = "float16",
        progress: Callable[[int], None] | None = None,
        memmap_dir: Path | None = None,
    ) -> "ImageEncodings":
        """Encodes images of a dataset; `progress` is called with the number of every batch."""
        count, width = dataset.num_images if images is None else len(images), model.config.joint_dim
        # Filled block by block: blocks that are joined at the end would be in memory twice.
        regions = allocate((count, dataset.max_regions, width), dtype, memmap_dir)
        mask = np.empty(regions.shape[:2], bool)
        vectors = np.empty((count, width), dtype) if model.config.pools_regions else None
        for rows, encoding in encoded_blocks(model, dataset, images):
            regions[rows] = _to_storage(encoding["regions"], dtype)
            mask[rows] = encoding["region_mask"]
            if vectors is not None:
                vectors[rows] = _to_storage(encoding["image_global"], dtype)
            if progress is not None:
                progress(len(rows))
        return cls(Rows([regions]), mask, None if vectors is None else Rows([vectors]))

    @classmethod
    def from_encoding(
        cls, encoding: Mapping[str, Any], dtype: StorageType = "float16"
    ) -> "ImageEncodings":
        """Keeps images that are encoded already.

        Args:
            encoding: as `HSLM.encode_image` returns; tensors or arrays.
            dtype: type that the features are kept in.

        Returns:
            The encodings.

        Raises:
            ValueError: if shapes do not fit, or a local feature does not fit the type.
        """
        regions, mask, vectors = _parts(encoding, "regions", "region_mask", "image_global", dtype)
        return cls(Rows([_to_storage(regions, dtype)]), mask, vectors)

    def __len__(self) -> int:
        return len(self.region_mask)

    def read(self, rows: np.ndarray) -> dict[str, tf.Tensor]:
        """Reads some images as `HSLM.encode_image` returns them, in float32."""
        encoding = {
            "regions": _to_float32(self.regions[rows]),
            "region_mask": tf.constant(self.region_mask[rows]),
        }
        if self.image_global is not None:
            encoding["image_global"] = _to_float32(self.image_global[rows])
        return encoding

    def vectors(self, heads: ProjectionHeads) -> np.ndarray:
        """Projects all images to vectors, float32 `[n, dim]`."""
        blocks = row_blocks(len(self), IMAGE_BLOCK_SIZE)
        return np.concatenate([heads.image_vectors(self.read(rows)) for rows in blocks])

    def select(self, rows: np.ndarray) -> "ImageEncodings":
        """Keeps some images; features are not copied."""
        parts = self.regions, self.region_mask, self.image_global
        return ImageEncodings(*(select_rows(part, rows) for part in parts))

    def append(self, other: "ImageEncodings") -> "ImageEncodings":
        """Puts images of the same model and type behind these; features are not copied."""
        return ImageEncodings(
            self.regions.append(other.regions),
            np.concatenate([self.region_mask, other.region_mask]),
            append_rows(self.image_global, other.image_global),
        )


@dataclass(frozen=True)
class CaptionEncodings:
    """Local features of n captions, as `HSLM.encode_text` returns them, without their padding.

    Args:
        words: `[tokens, d]`, float16 or float32, the words of one caption after another.
        lengths: int64 `[n]`, how many words each caption has.
        text_global: `[n, d]`, the global vectors, or None in a model without global alignment.
    """

    words: Rows
    lengths: np.ndarray
    text_global: Rows | None = None

    @classmethod
    def encode(
        cls,
        model: HSLM,
        captions: Sequence[str],
        dtype: StorageType = "float16",
        progress: Callable[[int], None] | None = None,
        memmap_dir: Path | None = None,
    ) -> "CaptionEncodings":
        """Encodes captions as they are written; there may be none."""
        tokens = model.tokenizer.tokenize_all(captions)
        starts, lengths = tokens.offsets[:-1], np.diff(tokens.offsets)
        width = model.config.joint_dim
        words = allocate((int(tokens.offsets[-1]), width), dtype, memmap_dir)
        with_global = model.config.global_alignment
        vectors = np.empty((len(captions), width), dtype) if with_global else None
        for rows, texts in encoded_captions(model, tokens):
            places, real = _padded_places(starts[rows], lengths[rows])
            words[places[real]] = _to_storage(texts["words"].numpy()[real], dtype)
            if vectors is not None:
                vectors[rows] = _to_storage(texts["text_global"], dtype)
            if progress is not None:
                progress(len(rows))
        return cls(Rows([words]), lengths, None if vectors is None else Rows([vectors]))

    @classmethod
    def from_encoding(
        cls, encoding: Mapping[str, Any], dtype: StorageType = "float16"
    ) -> "CaptionEncodings":
        """Keeps captions that are encoded already.

        Args:
            encoding: as `HSLM.encode_text` returns; tensors or arrays.
            dtype: type that the features are kept in.

        Returns:
            The encodings.

        Raises:
            ValueError: if shapes do not fit, or a local feature does not fit the type.
        """
        words, mask, vectors = _parts(encoding, "words", "word_mask", "text_global", dtype)
        lengths = mask.sum(axis=1, dtype=np.int64)
        return cls(Rows([_to_storage(words[mask], dtype)]), lengths, vectors)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum(self.lengths) - self.lengths

    def read(self, rows: np.ndarray) -> dict[str, tf.Tensor]:
        """Reads some captions as `HSLM.encode_text` returns them, in float32."""
        places, real = _padded_places(self._starts[rows], self.lengths[rows])
        words = np.zeros((*real.shape, self.words.shape[1]), self.words.dtype)
        words[real] = self.words[places[real]]
        encoding = {"words": _to_float32(words), "word_mask": tf.constant(real)}
        if self.text_global is not None:
            encoding["text_global"] = _to_float32(self.text_global[rows])
        return encoding

    def vectors(self, heads: ProjectionHeads) -> np.ndarray:
        """Projects all captions to vectors, float32 `[n, dim]`."""
        blocks = row_blocks(len(self), CAPTION_BLOCK_SIZE)
        vectors = [heads.text_vectors(self.read(rows)) for rows in blocks]
        return np.concatenate([np.zeros((0, heads.dim), np.float32), *vectors])

    def select(self, rows: np.ndarray) -> "CaptionEncodings":
        """Keeps some captions; features are not copied."""
        lengths = self.lengths[rows]
        moved = np.repeat(self._starts[rows] - (np.cumsum(lengths) - lengths), lengths)
        words = self.words.select(np.arange(len(moved)) + moved)
        return CaptionEncodings(words, lengths, select_rows(self.text_global, rows))

    def append(self, other: "CaptionEncodings") -> "CaptionEncodings":
        """Puts captions of the same model and type behind these; features are not copied."""
        return CaptionEncodings(
            self.words.append(other.words),
            np.concatenate([self.lengths, other.lengths]),
            append_rows(self.text_global, other.text_global),
        )


def allocate(shape: tuple[int, ...], dtype: StorageType, memmap_dir: Path | None) -> np.ndarray:
    """Makes an array to fill with features, in memory or in a temporary file of a folder."""
    if memmap_dir is None or 0 in shape:
        return np.empty(shape, dtype)
    with naming(memmap_dir, memmap_dir), tempfile.TemporaryFile(dir=memmap_dir) as file:
        take_room(file.fileno(), math.prod(shape) * np.dtype(dtype).itemsize)
        return np.memmap(file, dtype, "w+", shape=shape)


def _to_storage(values: Any, dtype: StorageType) -> np.ndarray:
    values = np.asarray(values)
    with np.errstate(over="ignore"):
        kept = values.astype(dtype)
    if not np.isfinite(kept).all():
        raise ValueError(
            f"A local feature of size {np.abs(values).max():.3g} does not fit the storage type. "
            f"Received: dtype={dtype}"
        )
    return kept


def _to_float32(values: np.ndarray) -> tf.Tensor:
    # TensorFlow casts with all threads, NumPy with one.
    return tf.cast(tf.constant(values), tf.float32)


def _parts(
    encoding: Mapping[str, Any], local: str, masks: str, pooled: str, dtype: StorageType
) -> tuple[np.ndarray, np.ndarray, Rows | None]:
    """Local features, their mask and the global vectors of an encoding, if they fit together."""
    values, mask = np.asarray(encoding[local]), np.asarray(encoding[masks], bool)
    if values.ndim != 3 or mask.shape != values.shape[:2]:
        raise ValueError(
            f"`{local}` must be [n, {local}, width] and `{masks}` [n, {local}]. "
            f"Received: {local}.shape={values.shape}, {masks}.shape={mask.shape}"
        )
    if pooled not in encoding:
        return values, mask, None
    vectors = np.asarray(encoding[pooled])
    if vectors.ndim != 2 or len(vectors) != len(mask):
        raise ValueError(
            f"`{pooled}` must be [{len(mask)}, width]. Received: {pooled}.shape={vectors.shape}"
        )
    return values, mask, Rows([_to_storage(vectors, dtype)])


def _padded_places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the words of captions, `[captions, longest]`, and which of them are real."""
    columns = np.arange(lengths.max(initial=0))
    return starts[:, None] + columns, columns < lengths[:, None]
