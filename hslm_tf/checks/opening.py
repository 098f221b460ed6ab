"""Opens the splits of a data set, and goes on where one of them is broken."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hslm_tf.checks.finding import Finding, Severity
from hslm_tf.config import DataConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.loading import find_splits, load_dataset
from hslm_tf.images.extraction_config import check_same


@dataclass(frozen=True)
class OpenedSplits:
    """The splits of a data set."""

    datasets: Mapping[str, RetrievalDataset]
    needed: frozenset[str]
    findings: tuple[Finding, ...]

    def severity(self, split: str) -> Severity:
        """Severity of what makes a split useless."""
        return "error" if split in self.needed else "warning"


def open_splits(
    path: str | os.PathLike[str], data: DataConfig, splits: Sequence[str]
) -> OpenedSplits:
    """Opens splits as training does."""
    names = splits or [data.train_split, data.dev_split, *find_splits(path)]
    needed = frozenset([data.train_split, data.dev_split, data.test_split, *splits])
    datasets, errors = {}, {}
    for name in dict.fromkeys(names):
        wanted = {"captions_optional": name not in needed}
        for options in (wanted, {"captions_optional": True, "float64": True}):
            try:
                datasets[name] = load_dataset(path, name, **options)
                break
            except (ValueError, OSError) as error:
                errors.setdefault(name, error)
    opened = OpenedSplits(datasets, needed, ())
    return replace(
        opened,
        findings=tuple(
            Finding(opened.severity(name), "split_refused", name, str(error))
            for name, error in errors.items()
        ),
    )


def compare_splits(opened: OpenedSplits, data: DataConfig) -> Iterator[Finding]:
    """Compares all splits with the one to train on, or with the first."""
    datasets = opened.datasets
    if not datasets:
        return
    first = datasets.get(data.train_split) or next(iter(datasets.values()))
    for name, dataset in datasets.items():
        if dataset.region_dim != first.region_dim:
            yield Finding(
                opened.severity(name),
                "other_width",
                name,
                f"{dataset.source}: region features are {dataset.region_dim} wide, those of "
                f"{first.source} {first.region_dim}; expected the same",
            )
        try:
            check_same(first.extraction, dataset.extraction, first.source, dataset.source)
        except ValueError as error:
            # Training asks only of dev how it was made.
            severity: Severity = "error" if name == data.dev_split else "warning"
            yield Finding(severity, "other_extraction", name, str(error))
    if first.name == data.train_split and len(np.unique(first.caption_to_image)) == 1:
        yield Finding(
            "warning",
            "one_image",
            first.name,
            f"{first.source}: one image has captions, expected two at least: without another image "
            "no pair has a negative",
        )
