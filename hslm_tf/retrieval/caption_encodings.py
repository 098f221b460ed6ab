"""Local features of many captions, encoded once and kept in float16 or float32."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from hslm_tf.data.blocks import row_blocks
from hslm_tf.models.encoding import CAPTION_BLOCK_SIZE, encoded_captions
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.rows import Rows
from hslm_tf.retrieval.storage import (
    StorageType,
    allocate,
    global_features,
    to_float32,
    to_storage,
)


@dataclass(frozen=True)
class CaptionEncodings:
    """What `HSLM.encode_text` gave for n captions, without their padding.

    Args:
        words: `[tokens, d]`, float16 or float32, the words of all captions.
        starts: int64 `[n]`, where the words of each caption start.
        lengths: int64 `[n]`, how many they are.
        text_global: `[n, d]`, the global vectors, or None in a model without global alignment.
    """

    words: Rows
    starts: np.ndarray
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
        """Encodes captions.

        Args:
            model: the model.
            captions: n captions as they are written; there may be none.
            dtype: type that the features are kept in.
            progress: called with the number of captions after every batch.
            memmap_dir: folder for a temporary file that the features are kept in; None for memory.

        Returns:
            The encodings.

        Raises:
            ValueError: if a local feature does not fit the type.
        """
        tokens = model.tokenizer.tokenize_all(captions)
        starts, lengths = tokens.offsets[:-1], np.diff(tokens.offsets)
        width = model.config.joint_dim
        words = allocate((int(tokens.offsets[-1]), width), dtype, memmap_dir)
        with_global = model.config.global_alignment
        text_global = np.empty((len(captions), width), dtype) if with_global else None
        for rows, texts in encoded_captions(model, tokens):
            places, real = _places(starts[rows], lengths[rows])
            words[places[real]] = to_storage(texts["words"].numpy()[real], dtype)
            if with_global:
                text_global[rows] = to_storage(texts["text_global"], dtype)
            if progress is not None:
                progress(len(rows))
        return cls(Rows([words]), starts, lengths, Rows([text_global]) if with_global else None)

    @classmethod
    def from_encoding(
        cls, encoding: Mapping[str, Any], dtype: StorageType = "float16"
    ) -> "CaptionEncodings":
        """Takes in what was encoded already.

        Args:
            encoding: as `HSLM.encode_text` returns; tensors or arrays.
            dtype: type that the features are kept in.

        Returns:
            The encodings.

        Raises:
            ValueError: if shapes do not fit, or a local feature does not fit the type.
        """
        words, mask = np.asarray(encoding["words"]), np.asarray(encoding["word_mask"], bool)
        if words.ndim != 3 or mask.shape != words.shape[:2]:
            raise ValueError(
                "`words` must be [captions, tokens, width] and `word_mask` [captions, tokens]. "
                f"Received: words.shape={words.shape}, word_mask.shape={mask.shape}"
            )
        lengths = mask.sum(axis=1, dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        text_global = global_features(encoding, "text_global", len(mask), dtype)
        return cls(Rows([to_storage(words[mask], dtype)]), starts, lengths, text_global)

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
        words = np.zeros((*real.shape, self.words.shape[1]), self.words.dtype)
        words[real] = self.words[places[real]]
        encoding = {"words": to_float32(words), "word_mask": tf.constant(real)}
        if self.text_global is not None:
            encoding["text_global"] = to_float32(self.text_global[rows])
        return encoding

    def vectors(self, heads: ProjectionHeads) -> np.ndarray:
        """Projected vectors of all captions.

        Args:
            heads: the projection heads.

        Returns:
            Float32 `[n, dim]`.
        """
        found = [
            heads.text_vectors(self.read(rows))
            for rows in row_blocks(len(self), CAPTION_BLOCK_SIZE)
        ]
        return np.concatenate([np.zeros((0, heads.dim), np.float32), *found])

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
        text_global = None if self.text_global is None else self.text_global.select(rows)
        return CaptionEncodings(self.words, self.starts[rows], self.lengths[rows], text_global)

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
            None if self.text_global is None else self.text_global.append(other.text_global),
        )


def _places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the words of captions lie, `[captions, longest]`, and which of them are real."""
    columns = np.arange(lengths.max(initial=0))
    return starts[:, None] + columns, columns < lengths[:, None]
