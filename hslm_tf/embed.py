"""`python -m hslm_tf.embed`: vectors of images and captions for TensorBoard's page Projector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hslm_tf.command_line import command
from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class EmbedArguments:
    """Write vectors of images and their captions into a run, where TensorBoard shows them.

    The run's projection heads (`python -m hslm_tf.index heads`) make them; without heads they are
    the model's global vectors, or means of its local features. A training writes such vectors of
    its dev split at its end; this command replaces them.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""
    split: str | None = None
    """split to take; by default the run's dev split"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the photographs, named as the ids of the images; by default the run's own"""
    limit: int = 500
    """how many images, with their captions"""


def run(arguments: EmbedArguments) -> None:
    """Runs the command."""
    run = RunDirectory(arguments.run)
    data = run.config().data
    if arguments.limit < 1:
        raise ValueError(f"--limit must be at least 1. Received: {arguments.limit}")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.runs.opening import load_heads, load_model
    from hslm_tf.runs.projector import write_projector
    from hslm_tf.runs.splits import check_images, open_split

    dataset = open_split(run, arguments.split or data.dev_split, arguments.dataset)
    images = arguments.images
    if images is not None:
        check_images(images, dataset)
    model = load_model(run.path)
    heads = load_heads(run.path, model) if run.projection_heads.exists() else None
    print(write_projector(run, model, dataset, heads, images, arguments.limit))


main = command("embed", run)


if __name__ == "__main__":
    main()
