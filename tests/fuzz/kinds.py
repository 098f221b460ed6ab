"""A valid example of every kind of file that the package reads, and how it is read to its end."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hslm_tf.data import RetrievalDataset, load_dataset
from hslm_tf.data.convert import convert
from tests.data import field_files as field
from tests.data.split_files import captions_of, write_split


def dataset_to_its_end(dataset: RetrievalDataset) -> dict[str, Any]:
    """Everything in a dataset. What a reader let through must keep what `RetrievalDataset` says."""
    images = np.arange(dataset.num_images)
    regions, mask = dataset.read_images(images)
    boxes, owners = dataset.read_boxes(images), dataset.caption_to_image
    assert dataset.num_images > 0
    assert regions.shape == (len(images), dataset.max_regions, dataset.region_dim)
    assert np.isfinite(regions).all() and not regions[~mask].any() and mask.any(axis=1).all()
    assert boxes is None or (boxes.shape == (*mask.shape, 4) and np.isfinite(boxes).all())
    assert len(owners) == len(dataset.captions)
    assert not len(owners) or (owners[0] == 0 and owners[-1] == len(images) - 1)
    assert (np.diff(owners) >= 0).all() and (np.diff(owners) <= 1).all()
    for text in (*dataset.captions, *(dataset.image_ids or ())):
        assert isinstance(text, str) and text and "\n" not in text
        text.encode()
    assert dataset.image_ids is None or len(set(dataset.image_ids)) == len(images)
    return {
        "regions": regions,
        "mask": mask,
        "boxes": boxes,
        "owners": owners,
        "captions": dataset.captions,
        "ids": dataset.image_ids,
        "extraction": dataset.extraction,
    }


def same(one: Any, other: Any) -> bool:
    """Whether two results are the same: arrays, and what holds arrays."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if type(one) is not type(other) or one.dtype != other.dtype:
            return False
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: what it is.
        write: writes an example into an empty folder.
        damaged: names of the files in that folder that are mutated, one at a time.
        read: opens what lies in the folder and reads it to its end.
        checked: whether checksums must tell any difference, so that only an equal result is right.
        ends_process: whether damage may end the process or keep it for ever, as libhdf5 lets it.
    """

    name: str
    write: Callable[[Path], object]
    damaged: tuple[str, ...]
    read: Callable[[Path], Any]
    checked: bool = False
    ends_process: bool = False


def _converted(name: str = "data", **options: Any) -> Callable[[Path], object]:
    """Writes what `convert` makes of a small split."""

    def write(folder: Path) -> None:
        source = write_split(folder / "source", "train")
        convert(source, folder / name, progress=False, **options)

    return write


def _dataset(path: str, split: str = "train", **options: Any) -> Callable[[Path], Any]:
    """Reads all of a split of a data set."""
    return lambda folder: dataset_to_its_end(load_dataset(folder / path, split, **options))


def _foreign(split: str = "train", name: str = "", **options: Any) -> Callable[[Path], Any]:
    """Reads all of a split of files of another tool, as `convert` does."""
    return lambda folder: dataset_to_its_end(field.opened(folder / "data" / name, split, **options))


def _precomputed(folder: Path) -> None:
    from hslm_tf.images.extraction_config import ExtractionConfig

    write_split(folder / "data", "train")
    values = ExtractionConfig(fingerprint="ab").to_dict()
    (folder / "data" / "train_features.json").write_text(json.dumps(values))


def _compressed(folder: Path) -> None:
    (folder / "data").mkdir()
    write_split(folder / "source", "train")
    with h5py.File(folder / "data" / "a.h5", "w") as file:
        for part in ("ims", "boxes", "num_regions"):
            values = np.load(folder / "source" / f"train_{part}.npy")
            packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
            file.create_dataset(f"train/{part}", data=values, chunks=True, **packed)
        file["train/caps"] = captions_of()
        file["train/ids"] = [f"photo_{i}.jpg" for i in range(6)]


def _with_caps(write: Callable[[Path], object], name: str) -> Callable[[Path], None]:
    def written(folder: Path) -> None:
        (folder / "data").mkdir()
        write(folder / "data" / name)
        lines = [caption for captions in field.CAPTIONS for caption in captions[:5]]
        (folder / "data" / "train_caps.txt").write_text("\n".join(lines) + "\n")

    return written


def _karpathy(folder: Path) -> None:
    (folder / "data").mkdir()
    field.write_npz(folder / "data" / "features")
    field.write_karpathy(folder / "data")


def _coco(folder: Path) -> None:
    (folder / "data").mkdir()
    field.write_npz(folder / "data" / "features")
    field.write_coco(folder / "data")


def _npy_folder(folder: Path) -> None:
    (folder / "data").mkdir()
    for image_id, features in zip(field.STEMS, field.FEATURES, strict=True):
        np.save(folder / "data" / f"{image_id}.npy", features)


def _token_file(folder: Path) -> None:
    _npy_folder(folder)
    lines = [
        f"{name}#{number}\t{caption}"
        for name, captions in zip(field.NAMES, field.CAPTIONS, strict=True)
        for number, caption in enumerate(captions)
    ]
    (folder / "data" / "own.token").write_text("\n".join(lines) + "\n")
    (folder / "data" / "train_ids.txt").write_text("\n".join(field.NAMES[:3]) + "\n")


_PARTS = ("ims.npy", "boxes.npy", "num_regions.npy", "caps.txt", "ids.txt", "features.json")
DATASETS = (
    Kind("precomputed", _precomputed, tuple(f"train_{part}" for part in _PARTS), _dataset("data")),
    Kind(
        "HDF5 by splits",
        _converted(name="data/a.h5"),
        ("a.h5",),
        _dataset("data/a.h5"),
        ends_process=True,
    ),
    Kind(
        "HDF5 by splits, compressed",
        _compressed,
        ("a.h5",),
        _dataset("data/a.h5"),
        ends_process=True,
    ),
    *(
        Kind(
            f"HDF5 without splits, {form}",
            _with_caps(lambda path, form=form: field.write_root_hdf5(path, form), "train.hdf5"),
            ("train.hdf5",),
            _foreign(),
            ends_process=True,
        )
        for form in ("regions first", "features first", "ranges")
    ),
    Kind(
        "TSV of bottom-up attention",
        _with_caps(field.write_bottom_up, "train.tsv"),
        ("train.tsv", "train_caps.txt"),
        _foreign(),
    ),
    Kind(
        "TSV of LXMERT",
        _with_caps(lambda path: field.write_lxmert(path, header=True), "train.tsv"),
        ("train.tsv",),
        _foreign(),
    ),
    Kind("TSV of VinVL", _with_caps(field.write_vinvl, "train.tsv"), ("train.tsv",), _foreign()),
    Kind(
        "TSV of LXMERT without header",
        _with_caps(field.write_lxmert, "train.tsv"),
        ("train.tsv",),
        _foreign(),
    ),
    Kind(
        ".npy per image",
        _npy_folder,
        (f"{field.STEMS[1]}.npy",),
        _foreign("all", images_alone=True),
    ),
    Kind(
        "Karpathy's JSON",
        _karpathy,
        ("dataset_own.json", f"features/{field.STEMS[0]}.npz"),
        _foreign(),
    ),
    Kind(
        "COCO's JSON", _coco, ("captions_val2014.json",), _foreign("all", "captions_val2014.json")
    ),
    Kind("token file", _token_file, ("own.token", "train_ids.txt"), _foreign()),
)
