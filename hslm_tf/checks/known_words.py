"""The vocabulary that a training would have."""

from dataclasses import dataclass

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.finding import Finding
from hslm_tf.config import DataConfig
from hslm_tf.text.vocabulary import SPECIAL_WORDS, Vocabulary


@dataclass(frozen=True)
class KnownWords:
    """A vocabulary and where it comes from."""

    vocabulary: Vocabulary | None = None
    source: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def size(self) -> int | None:
        """Number of its words, without the special ones."""
        return None if self.vocabulary is None else len(self.vocabulary) - len(SPECIAL_WORDS)


def known_words(train: CaptionScan | None, data: DataConfig) -> KnownWords:
    """Reads or builds the vocabulary, as training does."""
    if data.vocabulary is not None:
        try:
            return KnownWords(Vocabulary.load(data.vocabulary), f"words of {data.vocabulary}")
        except (ValueError, OSError) as error:
            finding = Finding("error", "broken_vocabulary", data.train_split, str(error))
            return KnownWords(findings=(finding,))
    if train is None:
        return KnownWords()
    vocabulary = Vocabulary.build(train.counts(), data.min_count)
    findings = ()
    if len(vocabulary) == len(SPECIAL_WORDS):
        message = (
            f"no word occurs {data.min_count} times (--min-count), expected some: a model would "
            "read all words as <unk>"
        )
        findings = (Finding("warning", "empty_vocabulary", data.train_split, message),)
    source = f"words that occur at least {data.min_count} times in {data.train_split}"
    return KnownWords(vocabulary, source, findings)
