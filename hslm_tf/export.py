"""`python -m hslm_tf.export`: a run as a SavedModel for TensorFlow Serving."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hslm_tf.command_line import command
from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class ExportArguments:
    """Export the best model of a run as a SavedModel that takes raw captions.

    Endpoints: score (the default), score_matrix, encode_text, encode_image, and with --collection
    search.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """directory of a run"""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """folder of the versions; DIR/<version>/ is written"""
    version: int | None = None
    """number of the version; by default one more than the highest"""
    precision: Literal["float32", "float16", "bfloat16", "int8"] = "float32"
    """how the weights are stored; everything is computed in float32"""
    collection: Path | None = None
    """collection of images to include, for the endpoint search"""
    top_k: int = 10
    """number of answers of search"""
    num_candidates: int = 100
    """number of images that search scores exactly"""


def run(arguments: ExportArguments) -> None:
    """Runs the command."""
    if arguments.collection is None and (arguments.top_k, arguments.num_candidates) != (10, 100):
        raise ValueError("--top-k and --num-candidates need --collection")
    run = RunDirectory(arguments.run)
    run.config()
    run.require_model()
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    import tensorflow as tf

    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.runs.opening import load_heads, load_model
    from hslm_tf.serving.savedmodel import export_model
    from hslm_tf.serving.search_index import SearchIndex

    # Where a GPU is visible, Keras builds recurrent layers that run only on GPUs.
    tf.config.set_visible_devices([], "GPU")
    model = load_model(run.path)
    if arguments.collection is None:
        heads, index = load_heads(run.path, model), None
    else:
        collection = Collection.load(arguments.collection, model)
        heads = collection.heads
        index = SearchIndex(collection, arguments.top_k, arguments.num_candidates)
    path = export_model(model, arguments.out, arguments.version, arguments.precision, heads, index)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"{path}: {arguments.precision}, {size / 1e6:.1f} MB")


main = command("export", run)


if __name__ == "__main__":
    main()
