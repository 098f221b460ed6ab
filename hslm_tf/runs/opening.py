"""Opens what runs leave behind: models, projection heads, collections."""

import logging
from pathlib import Path

from hslm_tf.data.errors import DataError
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.collection_file import run_of_collection
from hslm_tf.retrieval.projection_heads import ProjectionHeads, plain_means, read_heads
from hslm_tf.runs.checkpoints import load_whole
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import open_split

logger = logging.getLogger("hslm_tf")


def load_model(path: str | Path) -> HSLM:
    """Loads a model.

    Args:
        path: a `.keras` file, or the directory of a run, whose best model is loaded.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there is no such file, or no run with a model.
        DataError: if the file is damaged, or holds no model.

    Example:
        >>> model = hslm_tf.load_model("runs/flickr8k")
        >>> scores = model.score(region_features, ["a dog runs"], matrix=True)
    """
    path = Path(path)
    if path.is_dir():
        run = RunDirectory(path)
        run.config()
        path = run.require_model()
    elif not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or run")
    return load_whole(path)


def load_heads(path: str | Path, model: HSLM) -> ProjectionHeads:
    """Opens the heads of a run; where there are none, plain means of the local features.

    Args:
        path: the run's directory.
        model: the run's model.

    Returns:
        The heads.

    Raises:
        ValueError: if the heads were distilled from another model, or the file is broken.
    """
    run = RunDirectory(Path(path))
    if not run.projection_heads.exists():
        return plain_means(model)
    heads = read_heads(run.projection_heads)
    if heads.teacher_fingerprint != model_fingerprint(model):
        raise ValueError(
            f"{run.projection_heads} was distilled from another model than {run.best_model}: run "
            f"`python -m hslm_tf.index heads {run.path}` again"
        )
    return heads


def open_collection(path: str | Path, run: str | Path | None = None) -> Collection:
    """Opens a collection with the model that it was built with."""
    if run is None:
        named = run_of_collection(Path(path))
        if named is None or not RunDirectory(Path(named)).best_model.exists():
            raise DataError(f"{path} was built with the run {named}: its model is not found")
        run = Path(named)
    return Collection.load(path, load_model(run))


def searched_collection(where: Path, moved_run: Path | None = None) -> Collection:
    """Opens a collection's file, or that of a run; a run without one has its test split encoded."""
    if not where.is_dir():
        return open_collection(where, moved_run)
    run = RunDirectory(where)
    if run.collection.exists():
        return open_collection(run.collection, run.path)
    test = open_split(run, captions_optional=True)
    logger.info("Encoding %d images: %s is not there", test.num_images, run.collection)
    model = load_model(run.path)
    return Collection.build(model, test, load_heads(run.path, model), run=run.path)
