"""`python -m hslm_tf.index`: makes what a search needs, projection heads and collections."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hslm_tf.command_line import one_line_errors
from hslm_tf.retrieval.distillation_config import DistillationConfig
from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class IndexArguments:
    """Fit projection heads to a run's scores, or encode a split as a collection to search.

    Without --collection the heads are fitted on the training split and written to
    RUN/projection_heads.keras; the model stays as it is. With --collection the images and captions
    of a split are encoded with the model and the heads and written to that file.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of the run"""
    collection: Annotated[Path | None, tyro.conf.arg(metavar="FILE.h5")] = None
    """write a collection to this file; RUN/collection.h5 is where a search looks for one"""
    dataset: str | None = None
    """folder or HDF5 file; by default the one that the run was trained on"""
    split: str | None = None
    """split to use; by default the run's training split, with --collection its test split"""
    dtype: Literal["float16", "float32"] = "float16"
    """type that a collection keeps local features in"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the image files of a collection, for galleries"""
    correct_hubs: bool = False
    """measure which items of a collection are near to everything, with a bank of 700 images and
    2,000 captions of the training split, and correct their scores in every search"""
    heads: tyro.conf.OmitArgPrefixes[DistillationConfig] = DistillationConfig()
    """how the heads learn"""
    overwrite: bool = False
    """replace what is there already"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    arguments = tyro.cli(IndexArguments, prog="python -m hslm_tf.index", args=args)
    with one_line_errors():
        _run(arguments)


def _check(arguments: IndexArguments) -> None:
    """Refuses options that would be ignored."""
    if arguments.collection is None:
        if arguments.dtype != "float16" or arguments.images is not None or arguments.correct_hubs:
            raise ValueError("--dtype, --images and --correct-hubs need --collection")
    elif arguments.heads != DistillationConfig():
        raise ValueError(
            "With --collection no projection heads are fitted: run the command without it first"
        )


def _run(arguments: IndexArguments) -> None:
    _check(arguments)
    run = RunDirectory(arguments.run)
    data = run.config().data
    split = arguments.split or (data.test_split if arguments.collection else data.train_split)
    target = arguments.collection or run.projection_heads
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, a file is written")
    if target.exists() and not arguments.overwrite:
        raise FileExistsError(f"{target} exists already: --overwrite replaces it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no such folder")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from tqdm import tqdm

    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.retrieval.distillation import distill
    from hslm_tf.runs.hub_evaluation import hub_correction
    from hslm_tf.runs.opening import load_heads, load_model
    from hslm_tf.runs.splits import open_split

    captions_optional = arguments.collection is not None
    dataset = open_split(run, split, arguments.dataset, captions_optional)
    model = load_model(run.path)
    if arguments.collection is None:
        with tqdm(total=arguments.heads.steps, unit=" blocks", disable=None) as bar:

            def advance(blocks: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update(blocks)

            distill(model, dataset, arguments.heads, advance).save(target)
    else:
        heads = load_heads(run.path, model)
        if not heads.teacher_fingerprint:
            print(f"{run.path} has no projection heads: plain means find the candidates")
        total = dataset.num_images + dataset.num_captions
        with tqdm(total=total, unit=" items", disable=None) as bar:
            collection = Collection.build(
                model,
                dataset,
                heads,
                arguments.dtype,
                arguments.images,
                run.path,
                bar.update,
                memmap_dir=target.parent,
                hubs=hub_correction(run, model) if arguments.correct_hubs else None,
            )
        collection.save(target)
    print(target)


if __name__ == "__main__":
    main()
