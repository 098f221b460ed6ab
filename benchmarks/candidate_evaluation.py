"""Time and memory of an evaluation by candidates, by default of Flickr30K's shape, full sizes.

    python -m benchmarks.candidate_evaluation
    python -m benchmarks.candidate_evaluation --images 5000 --preset coco

Features, captions and weights are random, because the time does not depend on them. Images and
captions are encoded, candidates found and scored, and ranks computed, as by
`python -m hslm_tf.evaluate candidates RUN --num-candidates 50`.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import rich
import tyro
from rich.table import Table

from benchmarks.machine import gemm_ceiling, peak_memory
from benchmarks.streaming_evaluation import random_dataset
from benchmarks.training_step import random_words
from hslm_tf.presets import PRESETS, preset


@dataclass(frozen=True)
class Arguments:
    """Time and memory of an evaluation by candidates."""

    images: int = 1000
    """Images; five captions each."""
    candidates: int = 50
    """Nearest items of a query whose exact score is computed."""
    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """Configuration whose sizes are taken, such as coco or sample."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras precision policy."""
    dim: int = 256
    """Width of the vectors of the projection heads."""


@dataclass(frozen=True)
class Measurement:
    """What an evaluation took.

    Args:
        images: images.
        captions: captions.
        candidates: candidates of a query.
        pairs: pairs whose exact score was computed.
        precision: Keras precision policy.
        encoding_s: seconds to encode, to find candidates and to score those of 32 images.
        scoring_s: seconds for the candidates of the other images.
        pairs_per_s: pairs of the other images per second.
        total_s: seconds of the whole evaluation.
        ceiling_before: `tf.matmul` before in GFLOP/s.
        ceiling_after: the same afterwards.
        peak_memory_gb: largest resident set of the process in GB.
    """

    images: int
    captions: int
    candidates: int
    pairs: int
    precision: str
    encoding_s: float
    scoring_s: float
    pairs_per_s: float
    total_s: float
    ceiling_before: float
    ceiling_after: float
    peak_memory_gb: float


def measure(arguments: Arguments) -> Measurement:
    """Builds the model and evaluates it.

    Args:
        arguments: what to measure.

    Returns:
        The measurement.
    """
    import keras

    from hslm_tf.evaluation.exact_recall import evaluate_models
    from hslm_tf.models.hslm import HSLM
    from hslm_tf.retrieval.candidate_scores import CandidateScores
    from hslm_tf.retrieval.projection_heads import new_heads

    keras.utils.set_random_seed(0)
    config = preset(arguments.preset).model
    before = gemm_ceiling(arguments.precision)
    model = HSLM(config, random_words(), dtype=arguments.precision)
    heads = new_heads(config.joint_dim, arguments.dim)
    dataset = random_dataset(config, arguments.images)
    moments, pairs = [time.perf_counter()], [0]

    def note(images: int, scored: int) -> None:
        moments.append(time.perf_counter())
        pairs.append(pairs[-1] + scored)

    evaluate_models([model], dataset, blocks=CandidateScores([heads], arguments.candidates, note))
    end = time.perf_counter()
    scoring = moments[-1] - moments[1]
    return Measurement(
        images=dataset.num_images,
        captions=dataset.num_captions,
        candidates=arguments.candidates,
        pairs=pairs[-1],
        precision=arguments.precision,
        encoding_s=moments[1] - moments[0],
        scoring_s=scoring,
        pairs_per_s=(pairs[-1] - pairs[1]) / scoring,
        total_s=end - moments[0],
        ceiling_before=before,
        ceiling_after=gemm_ceiling(arguments.precision),
        peak_memory_gb=peak_memory(),
    )


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.candidate_evaluation", args=args)
    if arguments.preset not in PRESETS:
        sys.exit(f"error: no such preset: {arguments.preset}. There are: {', '.join(PRESETS)}")
    if arguments.images < 64:
        sys.exit(f"error: --images must be at least 64, not {arguments.images}")
    found = measure(arguments)
    table = Table(
        title=f"Evaluation by candidates, {found.images} images x {found.captions} captions, "
        f"{arguments.preset}, {found.precision}"
    )
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_row("candidates of a query", f"{found.candidates}")
    table.add_row("pairs scored", f"{found.pairs:,}")
    table.add_row("all encoded, first 32 images scored", f"{found.encoding_s:.1f} s")
    table.add_row("other images scored", f"{found.scoring_s:.1f} s")
    table.add_row("pairs per second", f"{found.pairs_per_s:,.0f}")
    table.add_row("whole evaluation", f"{found.total_s:.1f} s")
    table.add_row("peak resident memory", f"{found.peak_memory_gb:.2f} GB")
    ceilings = f"{found.ceiling_before:.0f}, {found.ceiling_after:.0f} GFLOP/s"
    table.add_row("tf.matmul, before and after", ceilings)
    rich.print(table)
    print(json.dumps({"benchmark": "candidate_evaluation", **asdict(found)}))


if __name__ == "__main__":
    main()
