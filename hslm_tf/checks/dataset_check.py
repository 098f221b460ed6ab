"""Checks a data set as a training would read it."""

import os
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from hslm_tf.checks.caption_scan import CaptionScan
from hslm_tf.checks.finding import Finding, Occurrences, counted_findings
from hslm_tf.checks.fingerprints import Fingerprints, shared
from hslm_tf.checks.opening import compare_splits, known_words, open_splits
from hslm_tf.checks.region_scan import scan_boxes, scan_features
from hslm_tf.checks.report import DatasetReport, Overlap, SplitReport
from hslm_tf.config import DataConfig, ModelConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.progress import ProgressBar
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
    scanned: list[tuple[RetrievalDataset, Fingerprints, CaptionScan | None]] = []
    total = sum(dataset.num_images for dataset in opened.datasets.values())
    with ProgressBar(total, "images", shown=progress) as bar:
        for name, dataset in opened.datasets.items():
            bar.set_description(name)
            features, images = scan_features(dataset, bar.update)
            scan = scans.get(name)
            scanned.append((dataset, images, scan))
            reports[name] = SplitReport(
                source=dataset.source,
                features=features,
                captions=scan and scan.report(max_tokens, known.vocabulary),
                boxes=None if dataset.boxes is None else scan_boxes(dataset),
            )
    overlaps = tuple(_overlap(*later, *earlier) for earlier, later in combinations(scanned, 2))
    findings: list[Finding] = [*opened.findings(), *compare_splits(opened, data), *known.findings]
    for name, report in reports.items():
        findings += report.findings(name, opened.severity(name))
    for overlap in overlaps:
        findings += counted_findings(overlap.split, overlap)
    return DatasetReport(
        source=os.fspath(path),
        splits=reports,
        overlaps=overlaps,
        vocabulary=known.source,
        vocabulary_size=known.vocabulary and len(known.vocabulary) - len(SPECIAL_WORDS),
        max_tokens=max_tokens,
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
    )


def _overlap(
    split: RetrievalDataset,
    images: Fingerprints,
    captions: CaptionScan | None,
    other: RetrievalDataset,
    other_images: Fingerprints,
    other_captions: CaptionScan | None,
) -> Overlap:
    nothing, name = "splits that share nothing", other.name
    overlap = Overlap(
        split.name,
        name,
        ids=Occurrences("shared_ids", f"images with the id of one of {name}", nothing),
        images=Occurrences("shared_images", f"images with the features of one of {name}", nothing),
        captions=Occurrences(
            "shared_captions", f"captions with the words of one of {name}", nothing
        ),
    )
    if captions is not None and other_captions is not None:
        pairs = shared(captions.fingerprints, other_captions.fingerprints)
        overlap.captions.add(
            pairs.items,
            lambda caption: f"{captions.place(caption)}, as caption {pairs.others[0]}",
        )
    if split.image_ids is not None and other.image_ids is not None:
        ids = set(other.image_ids)
        same = np.flatnonzero([image_id in ids for image_id in split.image_ids])
        overlap.ids.add(same, lambda image: f"image {split.image_ids[image]!r}")
    twins = shared(images, other_images)
    overlap.images.add(
        twins.items,
        lambda image: f"{split.place_of(image)}, as {other.place_of(int(twins.others[0]))}",
    )
    return overlap
