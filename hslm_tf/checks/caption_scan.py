"""Looks at the captions of a split, split into words as a model sees them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hslm_tf.checks.digests import Digests, digests_of, repeated
from hslm_tf.checks.occurrences import Occurrences
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.text.split_captions import SplitCaptions, split_captions
from hslm_tf.text.vocabulary import SPECIAL_WORDS, Vocabulary

_SHOWN = 60


@dataclass(frozen=True)
class UnknownWords:
    """Words outside the vocabulary, which a model reads as `<unk>`."""

    share: float
    distinct: int
    captions: int
    whole_captions: Occurrences
    commonest: tuple[str, ...]


@dataclass(frozen=True)
class CaptionReport:
    """What the captions of a split hold."""

    captions: int
    fewest: int
    most: int
    words: int
    distinct_words: int
    lengths: dict[int, int]
    repeated: Occurrences
    empty: Occurrences
    too_long: Occurrences
    unknown: UnknownWords | None


class CaptionScan:
    """Splits the captions of a split into words, and tells what they hold."""

    def __init__(self, dataset: RetrievalDataset) -> None:
        self._dataset = dataset
        self._split = split_captions(dataset.captions)
        words, split = self._split.words, self._split
        self.digests = Digests(
            np.arange(len(split)),
            digests_of(
                " ".join(words[place] for place in split.places[first:last]).encode()
                for first, last in zip(split.offsets[:-1], split.offsets[1:], strict=True)
            ),
        )

    def counts(self) -> dict[str, int]:
        """How often every word occurs, what a vocabulary is built from."""
        return self._split.counts()

    def place(self, caption: int) -> str:
        """Names a caption in a message."""
        text = self._dataset.captions[caption]
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        return f"caption {caption} {shown!r}"

    def report(self, max_tokens: int, vocabulary: Vocabulary | None) -> CaptionReport:
        """Tells what the captions hold."""
        dataset, split = self._dataset, self._split
        again, empty, too_long = Occurrences(), Occurrences(), Occurrences()
        pairs = repeated(self.digests)
        again.add(
            pairs.items,
            lambda caption: f"{self.place(caption)}, as caption {pairs.others[0]}",
        )
        empty.add(_without_letters(dataset.captions), self.place)
        tokens = np.diff(split.offsets) + 2
        too_long.add(
            np.flatnonzero(tokens > max_tokens),
            lambda caption: f"{self.place(caption)} of {tokens[caption]} tokens",
        )
        per_image = np.bincount(dataset.caption_to_image, minlength=dataset.num_images)
        return CaptionReport(
            captions=len(split),
            fewest=int(per_image.min()),
            most=int(per_image.max()),
            words=len(split.places),
            distinct_words=len(split.words),
            lengths=dict(sorted(Counter(tokens.tolist()).items())),
            repeated=again,
            empty=empty,
            too_long=too_long,
            unknown=None if vocabulary is None else self._unknown(split, vocabulary),
        )

    def _unknown(self, split: SplitCaptions, vocabulary: Vocabulary) -> UnknownWords:
        known_words = set(vocabulary.words) - set(SPECIAL_WORDS)
        unknown = np.array([word not in known_words for word in split.words], bool)
        missed = unknown[split.places]
        caption = np.repeat(np.arange(len(split)), np.diff(split.offsets))
        misses = np.bincount(caption, missed, len(split))
        whole = Occurrences()
        whole.add(np.flatnonzero(misses == np.diff(split.offsets)), self.place)
        counts = Counter({w: n for w, n in self.counts().items() if w not in known_words})
        return UnknownWords(
            share=float(missed.mean()) if missed.size else 0.0,
            distinct=int(unknown.sum()),
            captions=int(np.count_nonzero(misses)),
            whole_captions=whole,
            commonest=tuple(word for word, _ in counts.most_common(10)),
        )


def _without_letters(captions: Sequence[str]) -> np.ndarray:
    return np.array(
        [row for row, text in enumerate(captions) if not any(map(str.isalnum, text))], np.int64
    )
