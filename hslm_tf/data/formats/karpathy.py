"""Karpathy's JSON: the captions, splits and names of Flickr8k, Flickr30K and MS-COCO."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError, read_file
from hslm_tf.data.folders import check_split
from hslm_tf.data.json_object import parse_json
from hslm_tf.data.text_lines import check_line

logger = logging.getLogger("hslm_tf")
# The file says `val`; everything else in this family of models says `dev`.
_SPLIT_NAMES = {"val": "dev"}
# Sizes of the splits in the releases that papers report on.
_OFFICIAL: dict[str, dict[str, tuple[int, ...]]] = {
    "flickr8k": {"train": (6000,), "dev": (1000,), "test": (1000,)},
    "flickr30k": {"train": (29000, 29783), "dev": (1000, 1014), "test": (1000,)},
    "coco": {
        "train": (82783,),
        "train and restval": (113287,),
        "restval": (30504,),
        "dev": (5000,),
        "test": (5000,),
    },
}


@dataclass(frozen=True)
class KarpathyImage:
    """One image of the file; `folder` is empty and `coco_id` None where the file has none."""

    file_name: str
    folder: str
    split: str
    captions: tuple[str, ...]
    coco_id: int | None


@dataclass(frozen=True)
class KarpathyFile:
    """The content of `dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`."""

    path: Path
    collection: str
    images: tuple[KarpathyImage, ...]

    @property
    def captions_kept(self) -> int | None:
        """How many captions of an image the field uses; None is all."""
        # Images of MS-COCO have 5 to 7. VSE++ took the first five, and published figures follow it.
        return 5 if self.collection == "coco" else None

    @property
    def splits(self) -> list[str]:
        """Names of the splits, sorted."""
        return sorted({image.split for image in self.images})

    def split(self, split: str, restval: bool = False) -> list[KarpathyImage]:
        """The images of a split; a number that is not that of the release is a warning."""
        names = [split, "restval"] if restval and split == "train" else [split]
        for name in names:
            if name not in self.splits:
                raise DataError(
                    f"{self.path} has no image of the split {name!r}; it has "
                    f"{', '.join(self.splits)}"
                )
        images = [image for name in names for image in self.images if image.split == name]
        together = " and ".join(names)
        official = _OFFICIAL.get(self.collection, {}).get(together, ())
        if official and len(images) not in official:
            expected = " or ".join(f"{number:,}" for number in official)
            logger.warning(
                f"{self.path}: {len(images):,} images in {together}, {self.collection} has "
                f"{expected}: results on them do not compare with published ones"
            )
        return images


def is_karpathy(path: Path) -> bool:
    """Whether a file is a JSON with `"sentences"` near its beginning."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with naming(path), open(path, "rb") as file:
        return b'"sentences"' in file.read(1 << 16)


def read_karpathy(path: Path) -> KarpathyFile:
    """Reads a file of Karpathy's."""
    content = parse_json(read_file(path), str(path))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        held = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f'{path} has no list "images" with an image in it, as Karpathy\'s files have; it holds '
            f"{held[:200]}"
        )
    images = tuple(_image(f"{path}, image {row}", image) for row, image in enumerate(images))
    first_with: dict[str, int] = {}
    for row, image in enumerate(images):
        if first_with.setdefault(image.file_name, row) != row:
            raise DataError(
                f"{path}, image {row}: the name {image.file_name!r} is taken already, see image "
                f"{first_with[image.file_name]}"
            )
    collection = content.get("dataset")
    return KarpathyFile(path, collection.lower() if isinstance(collection, str) else "", images)


def _image(place: str, image: Any) -> KarpathyImage:
    sentences = _object(place, image).get("sentences", [])
    if not isinstance(sentences, list):
        raise DataError(f"{place}: sentences is {_shown(sentences)}, expected a list")
    split = check_split(_text(place, image, "split"), place)
    coco_id = image.get("cocoid")
    if coco_id is not None and type(coco_id) is not int:
        raise DataError(f"{place}: cocoid is {_shown(coco_id)}, expected an integer")
    captions = []
    for row, sentence in enumerate(sentences):
        sentence_place = f"{place}, sentence {row}"
        text = _text(sentence_place, _object(sentence_place, sentence), "raw")
        # MS-COCO has line breaks inside captions.
        captions.append(" ".join(text.split()))
    return KarpathyImage(
        file_name=_text(place, image, "filename"),
        folder=_text(place, image, "filepath") if image.get("filepath") else "",
        split=_SPLIT_NAMES.get(split, split),
        captions=tuple(captions),
        coco_id=coco_id,
    )


def _object(place: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place} is {_shown(value)}, expected an object")
    return value


def _text(place: str, values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise DataError(f"{place}: {key} is {_shown(value)}, expected some text")
    try:
        check_line(value.encode("utf-8"), f"{place}: {key}")
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: {key} is not valid Unicode: {error}") from error
    return value.strip()


def _shown(value: Any) -> str:
    return "missing" if value is None else f"{str(value)[:60]!r}"
