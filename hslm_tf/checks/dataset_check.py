"""Checks a data set as a training would read it."""

import os
from collections.abc import Sequence
from itertools import combinations

from tqdm import tqdm

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.finding import Finding
from hslm_tf.checks.findings import overlap_findings, split_findings
from hslm_tf.checks.opening import compare_splits, known_words, open_splits
from hslm_tf.checks.overlap import ScannedSplit, overlap_of
from hslm_tf.checks.region_scan import scan_boxes, scan_features
from hslm_tf.checks.report import DatasetReport, SplitReport
from hslm_tf.config import DataConfig, ModelConfig
from hslm_tf.text.vocabulary import SPECIAL_WORDS


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
    scans = {
        name: CaptionScan(dataset) for name, dataset in opened.datasets.items() if dataset.captions
    }
    known = known_words(scans.get(data.train_split), data)
    reports: dict[str, SplitReport] = {}
    scanned: list[ScannedSplit] = []
    total = sum(dataset.num_images for dataset in opened.datasets.values())
    with tqdm(total=total, unit=" images", disable=None if progress else True) as bar:
        for name, dataset in opened.datasets.items():
            bar.set_description(name)
            features, images = scan_features(dataset, bar.update)
            scan = scans.get(name)
            scanned.append(ScannedSplit(dataset, images, scan))
            reports[name] = SplitReport(
                source=dataset.source,
                features=features,
                captions=scan and scan.report(max_tokens, known.vocabulary),
                boxes=None if dataset.boxes is None else scan_boxes(dataset),
            )
    overlaps = tuple(overlap_of(later, earlier) for earlier, later in combinations(scanned, 2))
    findings: list[Finding] = [*opened.findings(), *compare_splits(opened, data), *known.findings]
    for name, report in reports.items():
        findings += split_findings(name, report, opened.severity(name), max_tokens)
    for overlap in overlaps:
        findings += overlap_findings(overlap)
    return DatasetReport(
        source=os.fspath(path),
        splits=reports,
        overlaps=overlaps,
        vocabulary=known.source,
        vocabulary_size=known.vocabulary and len(known.vocabulary) - len(SPECIAL_WORDS),
        max_tokens=max_tokens,
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
    )
