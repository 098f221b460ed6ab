"""`python -m hslm_tf.convert`: region features and captions from one file format to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import one_line_errors, printable
from hslm_tf.data.assembly import Layout
from hslm_tf.data.convert import FeatureType, FolderFormat, convert
from hslm_tf.data.errors import DataError
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.sight import describe


@dataclass(frozen=True)
class ConvertArguments:
    """Convert region features and captions from any format to any other.

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

    folder_format: FolderFormat = "precomputed"
    """Format of a target folder: precomputed, the TSV of bottom-up attention or of LXMERT, one .npz
    per image, or HDF5 files of images alone, as for visual question answering."""

    splits: tuple[str, ...] = ()
    """Splits to convert, such as train dev test. Without it: all that are found."""

    layout: Layout = "auto"
    """Layout of the source: one row per image, or one per caption, as in SCAN's release."""

    dtype: FeatureType = "keep"
    """Type of the region features in the target; float64 becomes float32."""

    restval: bool = False
    """Add Karpathy's restval, of MS-COCO, to train."""

    captions_per_image: int | None = None
    """Captions kept of an image where captions name their images, the first ones; 0 keeps all.
    Without it: five of MS-COCO's, and else all."""

    max_regions: int | None = None
    """Regions kept of an image, the first ones. Without it: all."""

    images_alone: bool = False
    """Accept splits without captions, to search in."""

    overwrite: bool = False
    """Replace what stands at the target: the whole HDF5 file, or all files of these splits."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(ConvertArguments, prog="python -m hslm_tf.convert", args=args)
    with one_line_errors():
        _run(arguments)


def _run(arguments: ConvertArguments) -> None:
    options = ReadOptions(
        layout=arguments.layout,
        captions_optional=arguments.images_alone or arguments.dry_run,
        features=arguments.features,
        restval=arguments.restval,
        captions_per_image=arguments.captions_per_image,
        max_regions=arguments.max_regions,
        float64=True,
    )
    if arguments.dry_run:
        print(printable(describe(arguments.source, arguments.splits, options)))
        return
    if arguments.target is None:
        raise DataError("a TARGET is needed to convert; --dry-run says what SOURCE is")
    written = convert(
        arguments.source,
        arguments.target,
        folder_format=arguments.folder_format,
        splits=arguments.splits,
        dtype=arguments.dtype,
        overwrite=arguments.overwrite,
        options=options,
    )
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
