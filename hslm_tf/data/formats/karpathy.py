"""JSON files of captions: Karpathy's, with splits, and those that MS-COCO comes with."""

import codecs
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import check_split
from hslm_tf.data.json_object import parse_json, parse_object
from hslm_tf.data.regular_file import read_file
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
    """The content of `dataset_flickr8k.json`, `dataset_coco.json`, `captions_val2014.json`, ..."""

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


def is_coco(path: Path) -> bool:
    """Whether a file is an object of images and captions of them, by its beginning and its end."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with naming(path), open(path, "rb") as file:
        ends = file.read(1 << 16)
        # MS-COCO's own files begin with the images and end with the captions.
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        ends += file.read()
    is_object = ends.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    return is_object and b'"image_id"' in ends and b'"caption"' in ends


def read_coco(path: Path) -> KarpathyFile:
    """Reads `captions_train2014.json` and its like, which have no splits."""
    content = parse_object(read_file(path), str(path))
    names: dict[int, str] = {}
    for place, image in _objects(path, content, "images"):
        number = _whole(place, image, "id")
        if number in names:
            raise DataError(f"{place}: the id {number} is taken already, by {names[number]}")
        names[number] = _text(place, image, "file_name")
    captions: dict[int, list[str]] = {number: [] for number in names}
    for place, annotation in _objects(path, content, "annotations"):
        number = _whole(place, annotation, "image_id")
        if number not in names:
            raise DataError(f"{place}: no image has the id {number}")
        captions[number].append(" ".join(_text(place, annotation, "caption").split()))
    images = [KarpathyImage(names[key], "", "all", tuple(captions[key]), key) for key in names]
    return _checked(path, "coco", images)


def read_karpathy(path: Path) -> KarpathyFile:
    """Reads a file of Karpathy's."""
    content = parse_json(read_file(path), str(path))
    images = tuple(_image(place, image) for place, image in _objects(path, content, "images"))
    collection = content.get("dataset")
    return _checked(path, collection.lower() if isinstance(collection, str) else "", images)


def _checked(path: Path, collection: str, images: Sequence[KarpathyImage]) -> KarpathyFile:
    """A file in which all images have different names."""
    first_with: dict[str, int] = {}
    for row, image in enumerate(images):
        if first_with.setdefault(image.file_name, row) != row:
            raise DataError(
                f"{path}, image {row}: the name {image.file_name!r} is taken already, see image "
                f"{first_with[image.file_name]}"
            )
    return KarpathyFile(path, collection, tuple(images))


def _objects(path: Path, content: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The places and the objects of a list that must not be empty."""
    values = content.get(key) if isinstance(content, dict) else None
    if not isinstance(values, list) or not values:
        held = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f'{path} has no list "{key}" with an {key[:-1]} in it, as the files of Karpathy and '
            f"MS-COCO have; it holds {held[:200]}"
        )
    for row, value in enumerate(values):
        place = f"{path}, {key[:-1]} {row}"
        yield place, _object(place, value)


def _image(place: str, image: Mapping[str, Any]) -> KarpathyImage:
    sentences = image.get("sentences", [])
    if not isinstance(sentences, list):
        raise DataError(f"{place}: sentences is {_shown(sentences)}, expected a list")
    split = check_split(_text(place, image, "split"), place)
    coco_id = None if image.get("cocoid") is None else _whole(place, image, "cocoid")
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


def _whole(place: str, values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    if type(value) is not int:
        raise DataError(f"{place}: {key} is {_shown(value)}, expected an integer")
    return value


def _shown(value: Any) -> str:
    return "missing" if value is None else f"{str(value)[:60]!r}"
