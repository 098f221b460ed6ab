"""Checks a data set as a training would read it, and whatever else can be told of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from tqdm import tqdm

from hslm_tf.checks.box_scan import BoxScan
from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.feature_scan import FeatureScan
from hslm_tf.checks.finding import Finding
from hslm_tf.checks.known_words import known_words
from hslm_tf.checks.opening import OpenedSplits, compare_splits, open_splits
from hslm_tf.checks.overlap import Overlap, ScannedSplit, overlap_of
from hslm_tf.checks.report import DatasetReport, SplitReport
from hslm_tf.checks.split_findings import (
    box_findings,
    caption_findings,
    feature_findings,
    overlap_findings,
)
from hslm_tf.config import DataConfig, ModelConfig
from hslm_tf.data.blocks import Advance, image_blocks
from hslm_tf.data.dataset import RetrievalDataset


def check_dataset(
    path: str | os.PathLike[str],
    data: DataConfig | None = None,
    *,
    splits: Sequence[str] = (),
    max_tokens: int = ModelConfig.max_tokens,
    progress: bool = True,
) -> DatasetReport:
    """Reads a whole data set and reports on it; region features pass through block by block."""
    data = data or DataConfig()
    opened = open_splits(path, data, splits)
    captions = {
        name: CaptionScan(dataset) for name, dataset in opened.datasets.items() if dataset.captions
    }
    known = known_words(captions.get(data.train_split), data)
    reports: dict[str, SplitReport] = {}
    scanned: list[ScannedSplit] = []
    total = sum(dataset.num_images for dataset in opened.datasets.values())
    with tqdm(total=total, unit=" images", disable=None if progress else True) as bar:
        for name, dataset in opened.datasets.items():
            bar.set_description(name)
            features, boxes = _scan(dataset, bar.update)
            of_captions = captions.get(name)
            scanned.append(ScannedSplit(dataset, features.image_digests(), of_captions))
            reports[name] = SplitReport(
                source=dataset.source,
                features=features.report(),
                captions=of_captions and of_captions.report(max_tokens, known.vocabulary),
                boxes=boxes and boxes.report(),
            )
    overlaps = tuple(overlap_of(later, earlier) for earlier, later in combinations(scanned, 2))
    findings = [
        *opened.findings,
        *compare_splits(opened, data),
        *known.findings,
        *_findings(opened, reports, overlaps, max_tokens),
    ]
    return DatasetReport(
        source=os.fspath(path),
        splits=reports,
        overlaps=overlaps,
        vocabulary=known.source,
        vocabulary_size=known.size,
        max_tokens=max_tokens,
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
    )


def _scan(dataset: RetrievalDataset, advance: Advance) -> tuple[FeatureScan, BoxScan | None]:
    features = FeatureScan(dataset)
    boxes = None if dataset.boxes is None else BoxScan(dataset)
    for images in image_blocks(dataset):
        features.add(images)
        if boxes is not None:
            boxes.add(images)
        advance(len(images))
    return features, boxes


def _findings(
    opened: OpenedSplits,
    reports: Mapping[str, SplitReport],
    overlaps: Sequence[Overlap],
    max_tokens: int,
) -> Iterator[Finding]:
    for name, report in reports.items():
        yield from feature_findings(name, report.features, opened.severity(name))
        if report.captions is not None:
            yield from caption_findings(name, report.captions, max_tokens)
        if report.boxes is not None:
            yield from box_findings(name, report.boxes)
    for overlap in overlaps:
        yield from overlap_findings(overlap)
