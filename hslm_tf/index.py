"""`python -m hslm_tf.index`: makes what a search needs, projection heads and collections."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hslm_tf.command_line import command
from hslm_tf.data.progress import ProgressBar
from hslm_tf.retrieval.distillation_config import DistillationConfig
from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class HeadsArguments:
    """Fit projection heads to a run's scores: RUN/projection_heads.keras; the model stays as it is.

    A search finds its candidates by their vectors.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    split: str | None = None
    """split to fit on; by default the run's training split"""
    heads: tyro.conf.OmitArgPrefixes[DistillationConfig] = DistillationConfig()
    """how the heads learn"""
    overwrite: bool = False
    """replace what is there already"""


@dataclass(frozen=True)
class CollectionArguments:
    """Encode the images and captions of a split with a run's model and heads, to search in them."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.h5")] = None
    """file to write; by default RUN/collection.h5, where a search of the run looks for it"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    split: str | None = None
    """split to encode; by default the run's test split"""
    dtype: Literal["float16", "float32"] = "float16"
    """type that local features are kept in"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the photographs, for galleries"""
    correct_hubs: bool = False
    """measure which items are near to everything, with a bank of 700 images and 2,000 captions of
    the training split, and correct their scores in every search"""
    overwrite: bool = False
    """replace what is there already"""


def heads(arguments: HeadsArguments) -> None:
    """Runs `heads`."""
    run = RunDirectory(arguments.run)
    split = arguments.split or run.config().data.train_split
    _check_target(run.projection_heads, arguments.overwrite)
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.retrieval.distillation import distill
    from hslm_tf.runs.opening import load_model
    from hslm_tf.runs.splits import open_split

    dataset = open_split(run, split, arguments.dataset)
    model = load_model(run.path)
    with ProgressBar(arguments.heads.steps, "blocks") as bar:

        def advance(blocks: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(blocks)

        distill(model, dataset, arguments.heads, advance).save(run.projection_heads)
    print(run.projection_heads)


def collection(arguments: CollectionArguments) -> None:
    """Runs `collection`."""
    run = RunDirectory(arguments.run)
    split = arguments.split or run.config().data.test_split
    target = arguments.out or run.collection
    _check_target(target, arguments.overwrite)
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.runs.evaluation import hub_correction
    from hslm_tf.runs.opening import load_heads, load_model
    from hslm_tf.runs.splits import open_split

    dataset = open_split(run, split, arguments.dataset, captions_optional=True)
    model = load_model(run.path)
    heads = load_heads(run.path, model)
    if not heads.teacher_fingerprint:
        print(f"{run.path} has no projection heads: plain means find the candidates")
    total = dataset.num_images + dataset.num_captions
    with ProgressBar(total, "items") as bar:
        Collection.build(
            model,
            dataset,
            heads,
            arguments.dtype,
            arguments.images,
            run.path,
            bar.update,
            memmap_dir=target.parent,
            hubs=hub_correction(run, model) if arguments.correct_hubs else None,
        ).save(target)
    print(target)


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, a file is written")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already: --overwrite replaces it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no such folder")


main = command("index", heads, collection)


if __name__ == "__main__":
    main()
