"""Looks at the captions of a split, split into words as a model sees them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from hslm_tf.checks.finding import Occurrences, counted
from hslm_tf.checks.fingerprints import Fingerprints, fingerprints_of, repeated
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.text.split_captions import split_captions
from hslm_tf.text.vocabulary import SPECIAL_WORDS, Vocabulary

_SHOWN = 60


@dataclass(frozen=True)
class UnknownWords:
    """Words outside the vocabulary, which a model reads as `<unk>`."""

    share: float
    distinct: int
    # Captions with such a word.
    captions: int
    commonest: tuple[str, ...]
    whole_captions: Occurrences = counted(
        "unknown_captions", "captions of unknown words alone", "words of the vocabulary"
    )


@dataclass
class CaptionReport:
    """The captions of a split."""

    captions: int
    # Captions of an image.
    fewest: int
    most: int
    words: int
    distinct_words: int
    # From a number of tokens, <start> and <end> included, to the captions that have it, rising.
    lengths: dict[int, int]
    unknown: UnknownWords | None
    empty: Occurrences = counted(
        "empty_captions", "captions without a letter or a digit", "sentences"
    )
    repeated: Occurrences = counted(
        "repeated_captions", "captions with the words of an earlier one", "different ones"
    )
    too_long: Occurrences = counted("long_captions", "captions that training truncates")


class CaptionScan:
    """The captions of a split, split into words."""

    def __init__(self, dataset: RetrievalDataset) -> None:
        self._dataset = dataset
        self.split = split = split_captions(dataset.captions)
        self.fingerprints = Fingerprints(
            np.arange(len(split)),
            fingerprints_of(
                " ".join(split.words[place] for place in split.places[first:last]).encode()
                for first, last in zip(split.offsets[:-1], split.offsets[1:], strict=True)
            ),
        )

    def place(self, caption: int) -> str:
        """Names a caption in a message."""
        text = self._dataset.captions[caption]
        return f"caption {caption} {text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'!r}"

    def report(self, max_tokens: int, vocabulary: Vocabulary | None) -> CaptionReport:
        """Counts what a training with this vocabulary would read."""
        dataset, split = self._dataset, self.split
        tokens = np.diff(split.offsets) + 2
        per_image = np.bincount(dataset.caption_to_image, minlength=dataset.num_images)
        report = CaptionReport(
            captions=len(split),
            fewest=int(per_image.min()),
            most=int(per_image.max()),
            words=len(split.places),
            distinct_words=len(split.words),
            lengths=dict(sorted(Counter(tokens.tolist()).items())),
            unknown=None if vocabulary is None else self._unknown(vocabulary),
        )
        pairs = repeated(self.fingerprints)
        report.repeated.add(
            pairs.items, lambda caption: f"{self.place(caption)}, as caption {pairs.others[0]}"
        )
        empty = [not any(map(str.isalnum, caption)) for caption in dataset.captions]
        report.empty.add(np.flatnonzero(empty), self.place)
        report.too_long.expected = (
            f"{max_tokens} tokens at most, <start> and <end> included (--max-tokens)"
        )
        report.too_long.add(
            np.flatnonzero(tokens > max_tokens),
            lambda caption: f"{self.place(caption)} of {tokens[caption]} tokens",
        )
        return report

    def _unknown(self, vocabulary: Vocabulary) -> UnknownWords:
        split, known = self.split, set(vocabulary.words) - set(SPECIAL_WORDS)
        is_unknown = np.array([word not in known for word in split.words], bool)
        missed = is_unknown[split.places]
        lengths = np.diff(split.offsets)
        misses = np.bincount(np.repeat(np.arange(len(split)), lengths), missed, len(split))
        counts = Counter({word: n for word, n in split.counts().items() if word not in known})
        unknown = UnknownWords(
            share=float(missed.mean()) if missed.size else 0.0,
            distinct=int(is_unknown.sum()),
            captions=int(np.count_nonzero(misses)),
            commonest=tuple(word for word, _ in counts.most_common(10)),
        )
        unknown.whole_captions.add(np.flatnonzero(misses == lengths), self.place)
        return unknown
