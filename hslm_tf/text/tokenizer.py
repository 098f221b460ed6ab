"""From captions to token ids, in the TensorFlow graph."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.text.split_captions import SplitCaptions, split_captions
from hslm_tf.text.tokenization import tokenize
from hslm_tf.text.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class TokenizedCaptions:
    """The token ids of many captions, one after the other."""

    ids: np.ndarray
    offsets: np.ndarray
    num_truncated: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return (
            f"TokenizedCaptions({len(self)} captions, {len(self.ids)} tokens, "
            f"{self.num_truncated} captions truncated)"
        )

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Token ids of some captions as a matrix, 0 (`<pad>`) after the last token."""
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
        self._unknown = vocabulary.id_of("<unk>")
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(vocabulary.words), tf.range(len(vocabulary), dtype=tf.int32)
            ),
            default_value=self._unknown,
        )
        self._remembered = functools.lru_cache(maxsize=2)(
            lambda captions: self.ids_of_split(split_captions(captions))
        )

    def __call__(self, captions: tf.Tensor) -> tf.RaggedTensor:
        """Token ids of captions."""
        return self.ids_of(self.split(captions))

    def split(self, captions: Sequence[str | bytes] | tf.Tensor) -> tf.RaggedTensor:
        """All words of captions; ragged strings `[n, (words)]`."""
        return tokenize(captions)

    def read(self, caption: str) -> list[tuple[str, bool]]:
        """The words of a caption, and whether the vocabulary has them."""
        words = self.split([caption])[0]
        known = self._table.lookup(words).numpy() != self._unknown
        texts = [word.decode("utf-8", "replace") for word in words.numpy()]
        return list(zip(texts, known.tolist(), strict=True))

    def ids_of(self, words: tf.RaggedTensor) -> tf.RaggedTensor:
        """Token ids of captions that are split already.

        Args:
            words: what `split` returned.

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

        The last two data sets are remembered, because evaluations use the same captions again.

        Args:
            captions: n captions as they are written.

        Returns:
            The token ids and how many captions were truncated.
        """
        return self._remembered(tuple(captions))

    def ids_of_split(self, split: SplitCaptions) -> TokenizedCaptions:
        """Token ids of a data set that is split already.

        Args:
            split: the words of n captions.

        Returns:
            As `tokenize_all`.
        """
        lengths = np.diff(split.offsets)
        kept = lengths if self.max_tokens is None else np.minimum(lengths, self.max_tokens - 2)
        offsets = np.concatenate([[0], np.cumsum(kept + 2)])
        ids = np.empty(offsets[-1], np.int32)
        ids[offsets[:-1]] = self._start
        ids[offsets[1:] - 1] = self._end
        # The kept words of every caption, behind its <start>.
        captions = np.repeat(np.arange(len(split)), kept)
        words = np.arange(len(captions)) - np.repeat(np.cumsum(kept) - kept, kept)
        known = self._table.lookup(tf.constant(split.words, tf.string)).numpy()
        ids[offsets[captions] + 1 + words] = known[split.places[split.offsets[captions] + words]]
        return TokenizedCaptions(ids, offsets, int(np.count_nonzero(kept < lengths)))


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
    return Vocabulary.build(split_captions(captions).counts(), min_count)
