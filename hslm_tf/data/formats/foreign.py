"""A collection in files of other tools: captions and the region features that they name."""

from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import folder_listing
from hslm_tf.data.formats.captions import ALL, CaptionedImages, find_captions
from hslm_tf.data.formats.features import FeatureFile, feature_files, read_images
from hslm_tf.data.formats.image import Image, region_parts
from hslm_tf.data.formats.root_hdf5 import advice_on_ids

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
        """Names of the splits; none where there are neither captions nor features."""
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
        kinds = dict.fromkeys(file.kind for file in self._files(split))
        features = f"{' and '.join(kinds) or 'no region features'} in {self._path}"
        return features if self._captions is None else f"{self._captions.kind}, and {features}"

    def open(self, split: str, images_alone: bool = False) -> RetrievalDataset:
        """Opens a split, in the order of the captions; features may be float64."""
        named = self._named(split)
        if named.captions is None and not images_alone:
            raise DataError(
                f"{named.source} has no captions in the split {split}: name the file of captions, "
                "and this path with --features, or accept images alone with --images-alone"
            )
        files = self._files(split)
        paths = [file.path for file in files]
        if self._opened is None or self._opened[0] != paths:
            self._opened = paths, read_images(files, self._path)
        images, source = self._opened[1], str(paths[0] if len(paths) == 1 else self._path)
        if named.names is None:
            count = self._captions_per_image(split, files, len(images), named)
            flat = named.captions or ()
            captions = [flat[row * count : (row + 1) * count] for row in range(len(images))]
            ids = [image.id for image in images]
        else:
            images = _images_named(images, named, source)
            captions, ids = named.captions or [()] * len(images), list(named.names)
        counts = [len(texts) for texts in captions]
        if any(counts) and 0 in counts:
            raise DataError(
                f"{named.source}, split {split}: the image {ids[counts.index(0)]!r} has no "
                "caption, though others have"
            )
        return RetrievalDataset(
            name=split,
            source=source,
            captions=[text for texts in captions for text in texts],
            caption_to_image=np.repeat(np.arange(len(images), dtype=np.int32), counts),
            image_ids=_checked(ids, named) if all(ids) else None,
            **region_parts(images, self._max_regions),
        )

    def _named(self, split: str) -> CaptionedImages:
        if self._captions is None:
            if split != ALL:
                held = "region features alone"
                if self._path.is_dir():
                    held = folder_listing(self._path)
                raise DataError(f"{self._path} holds no captions of a split {split!r}, but {held}")
            return CaptionedImages(str(self._path), None, None, lambda row: str(self._path))
        if split not in self._captions.splits:
            held = ", ".join(self._captions.splits)
            raise DataError(f"{self._captions.path} has no split {split!r}; it has {held}")
        return self._captions.read(split)

    def _files(self, split: str) -> list[FeatureFile]:
        # Features called as the split belong to it alone, even where others lie beside.
        places = [self._path / f"{split}{end}" for end in (".tsv", ".hdf5", ".h5", "")]
        by_split = [files for path in places if (files := list(feature_files(path)))]
        if len(by_split) > 1:
            raise DataError(f"{by_split[0][0].path} and {by_split[1][0].path}: keep one of them")
        return by_split[0] if by_split else list(feature_files(self._path))

    def _captions_per_image(
        self, split: str, files: list[FeatureFile], images: int, named: CaptionedImages
    ) -> int:
        """How many captions each image has, where captions go by the order of the features."""
        captions, path = len(named.captions or ()), files[0].path
        if captions and path.stem != split and len(self.splits) > 1:
            raise DataError(
                f"{named.source} has captions without ids, and no region features called as the "
                f"split lie in {self._path}, which holds {folder_listing(self._path)}"
            )
        if captions and (len(files) > 1 or not files[0].ordered):
            raise DataError(
                f"{named.source} has captions without ids, and {path} has no order: write "
                f"the ids of the images to {named.source.removesuffix('_caps.txt')}_ids.txt"
            )
        if captions % images:
            raise DataError(
                f"{named.source} has {captions} captions and {path} {images} images: "
                "expected the same whole number of captions for every image, or ids"
            )
        return captions // images


def _images_named(images: list[Image], named: CaptionedImages, source: str) -> list[Image]:
    without = next((image for image in images if not image.id), None)
    if without is not None:
        file = Path(without.place.split(":/")[0])
        raise DataError(f"{file} has no ids to find images by: {advice_on_ids(file)}")
    places, key = _find([image.id for image in images], named.names, named.coco_ids)
    missing = [row for row, place in enumerate(places) if place is None]
    if missing:
        held = ", ".join(repr(image.id) for image in images[:3])
        raise DataError(
            f"{named.place(missing[0])}: {source} has no image {named.names[missing[0]]!r}; it "
            f"lacks {len(missing)} of {len(places)}, looked up by {key}, and holds {held} and "
            "others"
        )
    return [images[place] for place in places]


def _find(
    ids: Sequence[str], names: Sequence[str], coco_ids: Sequence[int | None] | None
) -> tuple[list[int | None], str]:
    """Places of images among ids, and the key that finds most of them."""
    # One key serves all: a number in a name and an id of MS-COCO must not be mixed up.
    keys = {
        "name": (names, ids),
        "name without ending": ([*map(_stem, names)], [*map(_stem, ids)]),
        "cocoid": (
            [None if number is None else str(number) for number in coco_ids or ()],
            [*map(_number, ids)],
        ),
    }
    best, best_key, most = [None] * len(names), "name", 0
    for key, (wanted, there) in keys.items():
        place_of = {value: place for place, value in enumerate(there) if value is not None}
        places = [place_of.get(value) for value in wanted]
        count = len(places) - places.count(None)
        # `a.jpg` and `a.png` are two images, whose names without ending say nothing.
        if count > most and not _has_doubles(wanted) and not _has_doubles(there):
            best, best_key, most = places, key, count
    return best, best_key


def _has_doubles(values: Sequence[str | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(set(known)) < len(known)


def _stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in _IMAGE_SUFFIXES else name


def _number(image_id: str) -> str | None:
    # The names of MS-COCO's 2017 release are its ids, filled up with zeros.
    stem = _stem(image_id)
    return stem.lstrip("0") or "0" if stem.isascii() and stem.isdigit() else None


def _checked(ids: list[str], named: CaptionedImages) -> list[str]:
    for row, image_id in enumerate(ids):
        text = image_id.encode("utf-8", "replace").decode() == image_id == image_id.strip()
        if not text or len(image_id.splitlines()) != 1 or "\0" in image_id:
            raise DataError(f"{named.place(row)}: the id {image_id!r} is not one line of text")
    return ids
