"""Opens what a training would read, and goes on where a part of it is broken."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.finding import Finding, Severity
from hslm_tf.config import DataConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.loading import find_splits, load_dataset
from hslm_tf.images.extraction_config import check_same
from hslm_tf.text.vocabulary import Vocabulary, training_vocabulary


@dataclass(frozen=True)
class OpenedSplits:
    """The splits that could be opened, and why others could not, or not as training opens them."""

    datasets: Mapping[str, RetrievalDataset]
    needed: frozenset[str]
    errors: Mapping[str, Exception]

    def severity(self, split: str) -> Severity:
        """Severity of what makes a split useless."""
        return "error" if split in self.needed else "warning"

    def findings(self) -> Iterator[Finding]:
        """The errors so far."""
        for name, error in self.errors.items():
            yield Finding(self.severity(name), "split_refused", name, str(error))


def open_splits(
    path: str | os.PathLike[str], data: DataConfig, splits: Sequence[str]
) -> OpenedSplits:
    """Opens these splits, or else all that there are and those that training needs."""
    names = splits or [data.train_split, data.dev_split, *find_splits(path)]
    needed = frozenset([data.train_split, data.dev_split, data.test_split, *splits])
    datasets, errors = {}, {}
    for name in dict.fromkeys(names):
        as_in_training = {"captions_optional": name not in needed}
        # A split that lacks captions, or is float64, is opened all the same: the rest is checked.
        for options in (as_in_training, {"captions_optional": True, "float64": True}):
            try:
                datasets[name] = load_dataset(path, name, **options)
                break
            except (ValueError, OSError) as error:
                errors.setdefault(name, error)
    return OpenedSplits(datasets, needed, errors)


def compare_splits(opened: OpenedSplits, data: DataConfig) -> Iterator[Finding]:
    """Compares all splits with the one to train on, or with the first."""
    datasets = opened.datasets
    if not datasets:
        return
    first = datasets.get(data.train_split) or next(iter(datasets.values()))
    for name, dataset in datasets.items():
        if dataset.region_dim != first.region_dim:
            message = (
                f"{dataset.source}: region features are {dataset.region_dim} wide, those of "
                f"{first.source} {first.region_dim}; expected the same"
            )
            yield Finding(opened.severity(name), "other_width", name, message)
        try:
            check_same(first.extraction, dataset.extraction, first.source, dataset.source)
        except ValueError as error:
            # Training compares dev alone.
            severity: Severity = "error" if name == data.dev_split else "warning"
            yield Finding(severity, "other_extraction", name, str(error))
    if first.name == data.train_split and len(np.unique(first.caption_to_image)) == 1:
        message = (
            f"{first.source}: one image has captions, expected two at least: without another image "
            "no pair has a negative"
        )
        yield Finding("warning", "one_image", first.name, message)


@dataclass(frozen=True)
class KnownWords:
    """The vocabulary of a training, and where it comes from."""

    vocabulary: Vocabulary | None = None
    source: str | None = None
    findings: tuple[Finding, ...] = ()


def known_words(train: CaptionScan | None, data: DataConfig) -> KnownWords:
    """Reads or builds the vocabulary, as training does."""
    if train is None and data.vocabulary is None:
        return KnownWords()
    try:
        if train is None:
            vocabulary = Vocabulary.load(data.vocabulary)
        else:
            counts = train.split.counts()
            vocabulary = training_vocabulary(counts, data.vocabulary, data.min_count)
    except (ValueError, OSError) as error:
        finding = Finding("error", "broken_vocabulary", data.train_split, str(error))
        return KnownWords(findings=(finding,))
    if data.vocabulary is not None:
        return KnownWords(vocabulary, f"words of {data.vocabulary}")
    source = f"words that occur at least {data.min_count} times in {data.train_split}"
    return KnownWords(vocabulary, source)
