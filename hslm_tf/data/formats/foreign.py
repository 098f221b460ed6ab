"""A collection in files of other tools: captions and the region features that they name."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.formats.captions import CaptionedImages, find_captions
from hslm_tf.data.formats.features import FeatureFile, feature_files, kinds, read_images
from hslm_tf.data.formats.image import Image, region_parts
from hslm_tf.data.formats.root_hdf5 import advice_on_ids
from hslm_tf.data.formats.token_file import ALL

_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}


class Foreign:
    """Captions and region features as other tools wrote them."""

    def __init__(
        self,
        path: Path,
        features: Path | None = None,
        *,
        restval: bool = False,
        captions_per_image: int | None = None,
        max_regions: int | None = None,
    ) -> None:
        self._captions = find_captions(path, restval, captions_per_image)
        if features is not None and self._captions is None:
            held = folder_listing(path) if path.is_dir() else "no file of captions"
            raise DataError(f"{path} holds no captions for the region features, it holds {held}")
        beside = path if path.is_dir() or self._captions is None else path.parent
        self._path = features or beside
        self._max_regions = max_regions
        # Files of features and their images, of the split that was opened last: splits share them.
        self._opened: tuple[list[Path], list[Image]] | None = None

    @property
    def splits(self) -> list[str]:
        """Names of the splits; none where neither captions nor features were found."""
        if self._captions is not None:
            return list(self._captions.splits)
        return [ALL] if self._files(ALL) else []

    @property
    def recognised(self) -> bool:
        """Whether there are region features, or a file with captions of a whole collection."""
        of_collection = self._captions is not None and self._captions.path.is_file()
        return of_collection or any(self._files(split) for split in self.splits)

    def kind(self, split: str) -> str:
        """Says in a few words what a split is read from."""
        found = kinds(self._files(split)) or "no region features"
        of_features = f"{found} in {self._path}"
        if self._captions is None:
            return of_features
        return f"{self._captions.kind}, and {of_features}"

    def open(self, split: str, captions_optional: bool = False) -> RetrievalDataset:
        """Opens a split."""
        named = CaptionedImages(str(self._path), None, None, lambda row: str(self._path))
        if self._captions is not None:
            if split not in self._captions.splits:
                held = ", ".join(self._captions.splits)
                raise DataError(f"{self._captions.path} has no split {split!r}; it has {held}")
            named = self._captions.read(split)
        elif split != ALL:
            held = folder_listing(self._path) if self._path.is_dir() else "region features alone"
            raise DataError(f"{self._path} holds no captions of a split {split!r}, but {held}")
        if named.captions is None and not captions_optional:
            raise DataError(
                f"{named.source} has no captions in the split {split}: name the file of captions, "
                "and this path with --features, or accept images alone with --images-alone"
            )
        files = self._files(split)
        images = self._images(files)
        if named.names is None:
            images, counts = self._in_order(split, files, images, named)
            captions = list(named.captions or ())
        else:
            images = self._found(images, named, self._source(files))
            captions, counts = _flat(named, split)
        ids = named.names or [image.id for image in images]
        return RetrievalDataset(
            name=split,
            source=self._source(files),
            captions=captions,
            caption_to_image=np.repeat(np.arange(len(images), dtype=np.int32), counts),
            image_ids=_checked(ids, named) if all(ids) else None,
            **region_parts(images, self._max_regions),
        )

    def _files(self, split: str) -> list[FeatureFile]:
        # Features called as the split are its own, whatever else lies beside.
        own = [self._path / f"{split}{end}" for end in (".tsv", ".hdf5", ".h5", "")]
        found = [files for path in own if path.exists() and (files := list(feature_files(path)))]
        if len(found) > 1:
            raise DataError(f"{found[0][0].path} and {found[1][0].path}: keep one of them")
        return found[0] if found else list(feature_files(self._path))

    def _source(self, files: list[FeatureFile]) -> str:
        return str(files[0].path if len(files) == 1 else self._path)

    def _images(self, files: list[FeatureFile]) -> list[Image]:
        paths = [file.path for file in files]
        if self._opened is None or self._opened[0] != paths:
            self._opened = paths, read_images(files, self._path)
        return self._opened[1]

    def _in_order(
        self, split: str, files: list[FeatureFile], images: list[Image], named: CaptionedImages
    ) -> tuple[list[Image], int]:
        captions = len(named.captions or ())
        own = files[0].path.stem == split or len(self.splits) == 1
        if captions and not own:
            raise DataError(
                f"{named.source} has captions without ids, and no region features called as the "
                f"split lie in {self._path}, which holds {folder_listing(self._path)}"
            )
        if captions and (len(files) > 1 or not files[0].ordered):
            raise DataError(
                f"{named.source} has captions without ids, and {files[0].path} has no order: write "
                f"the ids of the images to {named.source.removesuffix('_caps.txt')}_ids.txt"
            )
        if captions % len(images):
            raise DataError(
                f"{named.source} has {captions} captions and {files[0].path} {len(images)} images: "
                "expected the same whole number of captions for every image, or ids"
            )
        return images, captions // len(images)

    def _found(self, images: list[Image], named: CaptionedImages, source: str) -> list[Image]:
        without = next((image for image in images if not image.id), None)
        if without is not None:
            file = Path(without.place.split(":/")[0])
            raise DataError(f"{file} has no ids to find images by: {advice_on_ids(file)}")
        places, key = find_images([image.id for image in images], named.names, named.coco_ids)
        lacking = np.flatnonzero(places < 0)
        if lacking.size:
            held = ", ".join(repr(image.id) for image in images[:3])
            raise DataError(
                f"{named.place(lacking[0])}: {source} has no image "
                f"{named.names[lacking[0]]!r}; it lacks {len(lacking)} of {len(named.names)}, "
                f"looked up by {key}, and holds {held} and others"
            )
        return [images[place] for place in places]


def _flat(named: CaptionedImages, split: str) -> tuple[list[str], list[int]]:
    if named.captions is None:
        return [], [0] * len(named.names)
    counts = [len(captions) for captions in named.captions]
    if 0 in counts:
        raise DataError(
            f"{named.source}, split {split}: the image {named.names[counts.index(0)]!r} has no "
            "caption, though others have"
        )
    return [caption for captions in named.captions for caption in captions], counts


def _checked(ids: Sequence[str], named: CaptionedImages) -> list[str]:
    for row, image_id in enumerate(ids):
        text = image_id.encode("utf-8", "replace").decode() == image_id == image_id.strip()
        if not text or len(image_id.splitlines()) != 1 or "\0" in image_id:
            raise DataError(f"{named.place(row)}: the id {image_id!r} is not one line of text")
    return list(ids)


class _Found(NamedTuple):
    """Where images stand, -1 where there is none, and what they were found by."""

    places: np.ndarray
    key: str


def find_images(
    ids: Sequence[str], names: Sequence[str], coco_ids: Sequence[int | None] | None = None
) -> _Found:
    """Finds images by their names, with or without the ending, or by their ids in MS-COCO."""
    keys: list[tuple[str, Sequence[str | None], Sequence[str | None]]] = [
        ("name", names, ids),
        ("name without ending", [*map(_stem, names)], [*map(_stem, ids)]),
    ]
    if coco_ids is not None and any(number is not None for number in coco_ids):
        wanted = [None if number is None else str(number) for number in coco_ids]
        keys.append(("cocoid", wanted, [*map(_number, ids)]))
    best = _Found(np.full(len(names), -1), "name")
    for key, wanted, there in keys:
        if _has_doubles(wanted) or _has_doubles(there):
            continue
        place_of = {value: place for place, value in enumerate(there) if value is not None}
        places = np.array([place_of.get(value, -1) for value in wanted], np.int64)
        if (places >= 0).sum() > (best.places >= 0).sum():
            best = _Found(places, key)
    return best


def _has_doubles(values: Sequence[str | None]) -> bool:
    # `a.jpg` and `a.png` are two images, whose names without ending say nothing.
    known = [value for value in values if value is not None]
    return len(set(known)) < len(known)


def _stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in _IMAGE_SUFFIXES else name


def _number(image_id: str) -> str | None:
    # The names of MS-COCO's 2017 release are its ids, filled up with zeros.
    stem = _stem(image_id)
    return stem.lstrip("0") or "0" if stem.isascii() and stem.isdigit() else None
