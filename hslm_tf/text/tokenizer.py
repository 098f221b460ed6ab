"""From captions to token ids, in the TensorFlow graph."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.text.tokenization import tokenize
from hslm_tf.text.vocabulary import Vocabulary

_CAPTION_BLOCK_SIZE = 8192


@dataclasses.dataclass(frozen=True)
class TokenizedCaptions:
    """The token ids of many captions, one after the other.

    Attributes:
        ids: int32 `[tokens]`, all captions concatenated.
        offsets: int64 `[n + 1]`; caption i is `ids[offsets[i]:offsets[i + 1]]`.
        num_truncated: how many captions were longer than the tokenizer's `max_tokens`.
    """

    ids: np.ndarray
    offsets: np.ndarray
    num_truncated: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Token ids of some captions as a matrix.

        Args:
            rows: indices of captions, `[b]`.

        Returns:
            int32 `[b, longest of them]`, padded on the right with 0, the id of `<pad>`.
        """
        rows = np.asarray(rows, np.int64)
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        places = np.arange(lengths.max(initial=0))
        real = places < lengths[:, None]
        padded = np.zeros(real.shape, np.int32)
        padded[real] = self.ids[(starts[:, None] + places)[real]]
        return padded


class CaptionTokenizer(tf.Module):
    """Turns captions into token ids: `<start>`, the words, `<end>`.

    Words are found by `hslm_tf.text.tokenization.tokenize`; those outside the vocabulary become
    `<unk>`. Only `tf.strings`, ragged and lookup operations are used, so the tokenizer can be a
    part of an exported graph.

    Args:
        words: all words in the order of their ids, see `Vocabulary`.
        max_tokens: longest caption, `<start>` and `<end>` included; of a longer one the first
            `max_tokens - 2` words are kept. None: no limit.

    Raises:
        ValueError: if `words` are not a vocabulary or `max_tokens` is less than 3.
    """

    def __init__(self, words: Sequence[str], max_tokens: int | None = None) -> None:
        super().__init__(name="caption_tokenizer")
        if max_tokens is not None and max_tokens < 3:
            raise ValueError(
                "max_tokens must leave room for <start>, a word and <end>. "
                f"Received: max_tokens={max_tokens}"
            )
        vocabulary = Vocabulary(words)
        self.max_tokens = max_tokens
        self._start = vocabulary.id_of("<start>")
        self._end = vocabulary.id_of("<end>")
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(vocabulary.words), tf.range(len(vocabulary), dtype=tf.int32)
            ),
            default_value=vocabulary.id_of("<unk>"),
        )

    def __call__(self, captions: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of captions.

        Args:
            captions: strings `[n]`, UTF-8; `n` may be 0 or unknown.

        Returns:
            Ragged int32 `[n, (tokens)]`; an empty caption is `<start>`, `<end>`.
        """
        return self.ids_of(tokenize(captions))

    def ids_of(self, words: tf.RaggedTensor) -> tf.RaggedTensor:
        """Token ids of captions that are split already.

        Args:
            words: ragged strings `[n, (words)]`, see `hslm_tf.text.tokenization.tokenize`.

        Returns:
            As `__call__`.
        """
        if self.max_tokens is not None:
            words = words[:, : self.max_tokens - 2]
        ids = words.with_flat_values(self._table.lookup(words.flat_values))
        column = tf.ones([words.nrows(), 1], tf.int32)
        return tf.concat([self._start * column, ids, self._end * column], axis=1)

    def tokenize_all(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Token ids of a whole data set, as arrays.

        Args:
            captions: n captions as they are written.

        Returns:
            The token ids and how many captions were truncated.
        """
        ids = [np.zeros(0, np.int32)]
        lengths = [np.zeros(0, np.int64)]
        num_truncated = 0
        for first in range(0, len(captions), _CAPTION_BLOCK_SIZE):
            words = tokenize(tf.constant(captions[first : first + _CAPTION_BLOCK_SIZE], tf.string))
            if self.max_tokens is not None:
                longer = words.row_lengths() + 2 > self.max_tokens
                num_truncated += int(np.count_nonzero(longer))
            rows = self.ids_of(words)
            ids.append(rows.flat_values.numpy())
            lengths.append(rows.row_lengths().numpy())
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        return TokenizedCaptions(np.concatenate(ids), offsets, num_truncated)


def build_vocabulary(captions: Sequence[str], min_count: int = 4) -> Vocabulary:
    """Collects the words of captions.

    Args:
        captions: the training captions as they are written.
        min_count: smallest number of occurrences; 4 in SCAN and SGRAF.

    Returns:
        The vocabulary.

    Example:
        >>> vocabulary = hslm_tf.build_vocabulary(["a dog runs", "a dog sits"], min_count=2)
        >>> print(vocabulary.words)
    """
    words = tokenize(tf.constant(captions, tf.string)).flat_values.numpy().astype(bytes)
    return Vocabulary.build([np.char.decode(words, "utf-8").tolist()], min_count)
