"""`python -m hslm_tf.extract`: region features of photographs."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hslm_tf.command_line import command, load_extra
from hslm_tf.data.errors import DataError
from hslm_tf.data.progress import ProgressBar
from hslm_tf.images.extraction_config import ExtractionConfig

logger = logging.getLogger("hslm_tf")


@dataclass(frozen=True)
class ExtractArguments:
    """Make region features of photographs, in the precomputed format.

    IMAGES is a folder, a text file with a path a line, Karpathy's or MS-COCO's JSON, or a token
    file; the last three bring captions and splits. A photograph that cannot be read is skipped and
    listed in SPLIT_skipped.txt. What was killed continues with the same command. Needs the extra
    `images`.
    """

    where: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """folder, list, JSON or token file"""
    out: Annotated[Path, tyro.conf.arg(metavar="DATA")]
    """folder to write to"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the photographs that a file names, at any depth; by default the file's own"""
    split: str = "test"
    """name of the split of a folder or a list"""
    splits: tuple[str, ...] = ()
    """splits of a JSON or token file to extract, such as train dev; by default all"""
    restval: bool = False
    """add Karpathy's restval, of MS-COCO, to train"""
    captions_per_image: int | None = None
    """captions kept of an image, the first ones; 0 keeps all; by default five of MS-COCO's, and
    else all"""
    backbone: str = ExtractionConfig.backbone
    """network: one of keras.applications, a .keras file that takes pixels from 0 to 255, or a
    KerasHub preset (extra `keras-hub`)"""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """weights of a network of keras.applications, without its top; by default those for ImageNet,
    which Keras keeps in its cache or loads"""
    size: int = ExtractionConfig.size
    """side of the square that a photograph is resized to, pixels"""
    boxes: str = ExtractionConfig.boxes
    """regions: grid (the whole, halves, thirds, quarters), a .json with boxes, a detector's .onnx
    file (extra `onnx`), or a KerasHub preset of a detector"""
    max_regions: int = ExtractionConfig.max_regions
    """most regions of a photograph, the most confident first"""
    fill: bool = ExtractionConfig.fill
    """fill up with the grid where a detector finds fewer regions"""
    dtype: Literal["float32", "float16"] = "float32"
    """type that features are kept in"""
    overwrite: bool = False
    """replace splits that are there already, or were begun with other settings"""


def run(arguments: ExtractArguments) -> None:
    """Runs the command."""
    config = ExtractionConfig(
        arguments.backbone,
        None if arguments.weights is None else str(arguments.weights),
        arguments.size,
        arguments.boxes,
        arguments.max_regions,
        arguments.fill,
    ).with_full_paths()
    load_extra("PIL", "images")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.images.listing import list_photographs

    splits = list_photographs(
        arguments.where,
        arguments.images,
        arguments.split,
        restval=arguments.restval,
        captions_per_image=arguments.captions_per_image,
    )
    for name in arguments.splits:
        if name not in splits:
            raise DataError(f"{arguments.where} has no split {name!r}; it has {', '.join(splits)}")

    listed = [photograph for photographs in splits.values() for photograph in photographs]
    # Long names are no error for `os.path.exists`. One that lacks its file is skipped later.
    if listed and not any(os.path.exists(photograph.path) for photograph in listed):
        raise DataError(
            f"none of the {len(listed)} photographs that {arguments.where} names is there, such as "
            f"{listed[0].path} (--images)"
        )
    logger.info("Opening %s", config.backbone)
    from hslm_tf.images.extraction import Extraction
    from hslm_tf.images.extractor import RegionExtractor

    extractor = RegionExtractor(config)
    extractions = [
        Extraction(
            splits[name], name, arguments.out, extractor, arguments.dtype, arguments.overwrite
        )
        for name in arguments.splits or splits
    ]
    for extraction in extractions:
        with ProgressBar(extraction.total, "images", extraction.split, extraction.done) as bar:
            extraction.run(bar.update)
        skipped = len(extraction.skipped)
        print(f"{extraction.split}: {extraction.total - skipped} images, {skipped} skipped")
        if skipped:
            print(f"{extraction.files['skipped']} says which and why")
    print(arguments.out)


main = command("extract", run)


if __name__ == "__main__":
    main()
