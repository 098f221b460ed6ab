"""`python -m hslm_tf.convert`: a data set of the captions and region features that there are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from hslm_tf.command_line import command, printable
from hslm_tf.data.assembly import Layout
from hslm_tf.data.convert import FeatureType, Source, convert, open_source
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError


@dataclass(frozen=True)
class ConvertArguments:
    """Make a data set of captions and region features in the formats of other tools.

    The formats are described in docs/data.md; what SOURCE is is found out. Nothing is left
    half-written: files appear under their names once all of them are complete.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A file or a folder in any format that is read; where features lie elsewhere, the captions."""

    target: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TARGET]")] = None
    """A file ending in .h5 or .hdf5, or a folder."""

    features: Path | None = None
    """File or folder of the region features, where they do not lie beside the captions."""

    dry_run: bool = False
    """Say what is seen at SOURCE, and write nothing."""

    splits: tuple[str, ...] = ()
    """Splits to convert, such as train dev test. Without it: all that are found."""

    layout: Layout = "auto"
    """Layout of a precomputed source: one row per image, or one per caption, as in SCAN's
    release."""

    dtype: FeatureType = "keep"
    """Type of the region features in the target; float64 becomes float32."""

    restval: bool = False
    """Add Karpathy's restval, of MS-COCO, to train."""

    captions_per_image: int | None = None
    """Captions kept of an image where a JSON or a token file has them, the first ones; 0 keeps all.
    Without it: five of MS-COCO's, and else all."""

    max_regions: int | None = None
    """Regions kept of an image, the first ones. Without it: all."""

    images_alone: bool = False
    """Accept splits without captions, to search in."""

    overwrite: bool = False
    """Replace what stands at the target: the whole HDF5 file, or all files of these splits."""


def run(arguments: ConvertArguments) -> None:
    """Runs the command."""
    options = {
        "features": arguments.features,
        "layout": arguments.layout,
        "restval": arguments.restval,
        "captions_per_image": arguments.captions_per_image,
        "max_regions": arguments.max_regions,
        "images_alone": arguments.images_alone or arguments.dry_run,
    }
    if arguments.dry_run:
        source = open_source(arguments.source, **options)
        for split in arguments.splits or source.splits:
            print(printable(_described(source, split)))
        return
    if arguments.target is None:
        raise DataError("a TARGET is needed to convert; --dry-run says what SOURCE is")
    written = convert(
        arguments.source,
        arguments.target,
        splits=arguments.splits,
        dtype=arguments.dtype,
        overwrite=arguments.overwrite,
        **options,
    )
    for path in written:
        print(path)


def _described(source: Source, split: str) -> str:
    dataset = source.open(split)
    regions = dataset.region_mask(np.arange(dataset.num_images)).sum(axis=1)
    lines = {
        "format": source.kind(split),
        "images": f"{dataset.num_images:,}",
        "captions": _captions(dataset),
        "regions": _range(regions),
        "width": str(dataset.region_dim),
        "type": str(dataset.region_features.dtype),
        "boxes": "none" if dataset.boxes is None else "yes",
        "ids": f"such as {dataset.image_ids[0]}" if dataset.image_ids else "none",
    }
    return "\n".join([f"{split}:", *(f"  {key:9}{lines[key]}" for key in lines)])


def _captions(dataset: RetrievalDataset) -> str:
    if not dataset.captions:
        return "none"
    counts = np.bincount(dataset.caption_to_image, minlength=dataset.num_images)
    return f"{dataset.num_captions:,}, {_range(counts)} an image"


def _range(numbers: np.ndarray) -> str:
    smallest, largest = numbers.min(), numbers.max()
    return f"{smallest}" if smallest == largest else f"{smallest} to {largest}"


main = command("convert", run)


if __name__ == "__main__":
    main()
