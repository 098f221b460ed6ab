"""The splits of a run's dataset."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hslm_tf.config import RunConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.loading import find_splits, load_dataset
from hslm_tf.images.extraction_config import check_same
from hslm_tf.report.pictures import find_image
from hslm_tf.runs.provenance import warn_of_another_fingerprint
from hslm_tf.runs.run_directory import RunDirectory


class Splits(NamedTuple):
    """The split that a run trains on and the one that chooses its best checkpoint."""

    train: RetrievalDataset
    dev: RetrievalDataset


def splits_of(config: RunConfig) -> list[str]:
    """Names of the splits of the configured dataset."""
    return find_splits(config.data.dataset)


def measured_split(config: RunConfig) -> str:
    """Names the split that an ablation is measured on: the test split, or dev without one."""
    data = config.data
    return data.test_split if data.test_split in splits_of(config) else data.dev_split


def load_split(config: RunConfig, split: str, captions_optional: bool = False) -> RetrievalDataset:
    """Opens a split of the configured dataset and checks that the model fits it."""
    dataset = load_dataset(config.data.dataset, split, captions_optional=captions_optional)
    if dataset.region_dim != config.model.region_dim:
        raise ValueError(
            f"{dataset.source}: region features are {dataset.region_dim} wide, the model is "
            f"configured for {config.model.region_dim} (--region-dim)"
        )
    if dataset.max_regions > config.model.max_regions:
        raise ValueError(
            f"{dataset.source}: {dataset.max_regions} regions an image, the model is configured "
            f"for at most {config.model.max_regions} (--max-regions)"
        )
    return dataset


def open_split(
    run: RunDirectory,
    split: str | None = None,
    dataset: str | None = None,
    captions_optional: bool = False,
) -> RetrievalDataset:
    """Opens a split to measure a run on, or to search in."""
    config = run.config()
    if dataset is not None:
        data = dataclasses.replace(config.data, dataset=dataset)
        config = dataclasses.replace(config, data=data)
    run.require_model()
    opened = load_split(config, split or config.data.test_split, captions_optional)
    check_same(run.extraction(), opened.extraction, str(run.path), opened.source)
    warn_of_another_fingerprint(run, opened, chosen=dataset is not None)
    return opened


def open_common_split(
    runs: Sequence[RunDirectory], split: str | None = None, dataset: str | None = None
) -> RetrievalDataset:
    """Opens a split to measure several runs on, the same for all of them."""
    first, *others = (open_split(run, split, dataset) for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        if other.captions != first.captions or not np.array_equal(
            other.caption_to_image, first.caption_to_image
        ):
            raise ValueError(
                f"{run.path}: {other.source} does not hold the captions of {first.source}, which "
                f"{runs[0].path} is measured on; --dataset measures all runs on the same data"
            )
    return first


def check_images(images: str | Path, dataset: RetrievalDataset) -> None:
    """Checks that a folder holds photographs of a dataset."""
    if not Path(images).is_dir():
        raise FileNotFoundError(f"{images}: there is no such folder")
    if dataset.image_ids is None:
        raise ValueError(f"{dataset.source} comes without ids, which photographs are found by")
    if not any(find_image(images, image_id) for image_id in dataset.image_ids):
        raise FileNotFoundError(
            f"{images} holds no photograph of {dataset.source}, such as {dataset.image_ids[0]}"
        )
