"""From captions to ids of the word pieces that a pretrained BERT knows, in the TensorFlow graph."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.text.normalization import normalize
from hslm_tf.text.tokenization import string_tensor
from hslm_tf.text.tokenizer import TokenizedCaptions

_BLOCK_SIZE = 8192


class WordPieceTokenizer(tf.Module):
    """Turns captions into ids of word pieces, as `CaptionTokenizer` does into those of words."""

    # `[CLS]` and `[SEP]` are no words: the text encoder adds them, and `max_tokens` counts them. A
    # caption without words is one `[UNK]`.
    def __init__(
        self, pieces: Sequence[str], lowercase: bool = True, max_tokens: int | None = None
    ) -> None:
        import tensorflow_text

        super().__init__(name="word_piece_tokenizer")
        self.max_tokens = max_tokens
        self._pieces = tuple(pieces)
        self._unknown = self._pieces.index("[UNK]")
        self._tokenizer = tensorflow_text.FastBertTokenizer(
            list(pieces), token_out_type=tf.int32, lower_case_nfd_strip_accents=lowercase
        )
        self._split = tf.function(
            self._pieces_of, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
        )
        self._remembered = functools.lru_cache(maxsize=2)(self._tokenize_all)

    def __call__(self, captions: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of captions."""
        return self.ids_of(self.split(captions))

    def split(self, captions: Sequence[str | bytes] | tf.Tensor) -> tf.RaggedTensor:
        """All word pieces of captions, as ids; ragged int32 `[n, (pieces)]`."""
        return self._split(string_tensor(captions))

    def ids_of(self, pieces: tf.RaggedTensor) -> tf.RaggedTensor:
        """Token ids of captions that are split already."""
        if self.max_tokens is not None:
            pieces = pieces[:, : self.max_tokens - 2]
        empty = tf.cast(pieces.row_lengths() == 0, tf.int64)
        unknown = tf.fill([tf.reduce_sum(empty)], self._unknown)
        return tf.concat([pieces, tf.RaggedTensor.from_row_lengths(unknown, empty)], axis=1)

    def tokenize_all(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Token ids of a whole data set, as `CaptionTokenizer.tokenize_all` returns them."""
        return self._remembered(tuple(captions))

    def read(self, caption: str) -> list[tuple[str, bool]]:
        """The word pieces of a caption, and whether each stands for what is written."""
        ids = self.split([caption])[0].numpy()
        return [(self._pieces[number], number != self._unknown) for number in ids]

    def _pieces_of(self, captions: tf.Tensor) -> tf.RaggedTensor:
        text = normalize(tf.strings.unicode_transcode(captions, "UTF-8", "UTF-8"))
        pieces = self._tokenizer.tokenize(text)
        return pieces.merge_dims(1, -1) if pieces.ragged_rank > 1 else pieces

    def _tokenize_all(self, captions: tuple[str, ...]) -> TokenizedCaptions:
        ids, lengths, truncated = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)], 0
        for first in range(0, len(captions), _BLOCK_SIZE):
            pieces = self.split(captions[first : first + _BLOCK_SIZE])
            kept = self.ids_of(pieces)
            ids.append(kept.flat_values.numpy())
            lengths.append(kept.row_lengths().numpy())
            truncated += int(np.count_nonzero(lengths[-1] < pieces.row_lengths().numpy()))
        return TokenizedCaptions(np.concatenate(ids), np.cumsum(np.concatenate(lengths)), truncated)


def joined_pieces(pieces: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Joins word pieces to words; returns these and the number of the word of each piece."""
    words: list[str] = []
    for piece in pieces:
        if piece.startswith("##") and words:
            words[-1] += piece.removeprefix("##")
        else:
            words.append(piece)
    begins = [not piece.startswith("##") or row == 0 for row, piece in enumerate(pieces)]
    return words, np.cumsum(begins, dtype=np.int64) - 1
