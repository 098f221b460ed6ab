"""`python -m hslm_tf.convert`: region features and captions from one file format to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import one_line_errors
from hslm_tf.data.assembly import Layout
from hslm_tf.data.convert import FeatureType, FolderFormat, convert


@dataclass(frozen=True)
class ConvertArguments:
    """Convert region features and captions between the precomputed, HDF5 and TSV formats.

    The formats are described in docs/data.md. Nothing is left half-written: files appear under
    their names once all of them are complete.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """An HDF5 file (.h5, .hdf5), or a folder in the precomputed or the TSV format."""

    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")]
    """A file ending in .h5 or .hdf5, or a folder."""

    folder_format: FolderFormat = "precomputed"
    """Format of a target folder."""

    splits: tuple[str, ...] = ()
    """Splits to convert, such as train dev test. Without it: all that are found."""

    layout: Layout = "auto"
    """Layout of the source: one row per image, or one per caption, as in SCAN's release."""

    dtype: FeatureType = "keep"
    """Type of the region features in the target."""

    overwrite: bool = False
    """Replace what stands at the target: the whole HDF5 file, or all files of these splits."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(ConvertArguments, prog="python -m hslm_tf.convert", args=args)
    with one_line_errors():
        written = convert(**vars(arguments))
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
