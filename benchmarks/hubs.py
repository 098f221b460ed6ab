"""Recall with scores corrected for hubs: how many neighbours, how much, how large a bank.

    python -m benchmarks.hubs RUN --split dev

The bank is drawn from the run's training split. Plain scores come first: published rows are plain.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from hslm_tf.command_line import one_line_errors
from hslm_tf.evaluation.protocols import evaluate_scores
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hubness import NEIGHBOURS, WEIGHT, draw_bank
from hslm_tf.runs.opening import load_model
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split, open_split


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure recall with scores corrected for hubs."""

    run: Annotated[Path, tyro.conf.Positional]
    """Directory of a run."""

    split: str = "dev"
    """Split to measure on."""

    dataset: str | None = None
    """Folder or HDF5 file, instead of the one that the run was trained on."""

    neighbours: tuple[int, ...] = (1, 5, 10, 50, 200)
    """Nearest queries of the bank that are averaged."""

    weights: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the average that are taken off."""

    banks: tuple[int, ...] = (200, 700, 2000, 5000)
    """Captions of a bank; it has as many images, up to `most_images`."""

    most_images: int = 2000
    """Images of the largest bank."""

    candidates: tuple[int, ...] = (20, 50, 100)
    """Best items by plain score, to which the corrected answers are restricted: what a collection
    loses that finds candidates without the correction."""


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.hubs", args=args)
    with one_line_errors():
        run = RunDirectory(arguments.run)
        data = open_split(run, arguments.split, arguments.dataset)
        model, config = load_model(run.path), run.config()
        train = load_split(config, config.data.train_split)
        bank = draw_bank(train, arguments.most_images, max(arguments.banks))
        scores = score_matrix(model, data)
        nobody = np.zeros(bank.num_captions, np.int32)
        captions = dataclasses.replace(data, captions=bank.captions, caption_to_image=nobody)
        by_captions = score_matrix(model, captions)
        nobody = np.zeros(data.num_captions, np.int32)
        images = dataclasses.replace(bank, captions=data.captions, caption_to_image=nobody)
        by_images = score_matrix(model, images)
        # Rows of a bank are sorted: smaller banks are drawn from the largest.
        random = np.random.default_rng(0)
        caption_order = random.permutation(bank.num_captions)
        image_order = random.permutation(bank.num_images)

        def taken_off(size: int, neighbours: int) -> np.ndarray:
            near = np.sort(by_captions[:, caption_order[:size]], axis=1)[:, -neighbours:]
            far = np.sort(by_images[image_order[:size]], axis=0)[-neighbours:]
            return near.mean(axis=1)[:, None] + far.mean(axis=0)

        def rsum(size: int, neighbours: int, weight: float) -> float:
            corrected = scores - weight * taken_off(size, neighbours)
            return evaluate_scores(corrected, data.caption_to_image).rsum

        print(f"plain: rsum {evaluate_scores(scores, data.caption_to_image).rsum:.1f}", flush=True)
        for neighbours in arguments.neighbours:
            for weight in arguments.weights:
                found = rsum(2000, neighbours, weight)
                print(f"{neighbours} neighbours, weight {weight}: rsum {found:.1f}", flush=True)
        for size in arguments.banks:
            found = rsum(size, NEIGHBOURS, WEIGHT)
            print(
                f"{size} captions, {min(size, bank.num_images)} images: rsum {found:.1f}",
                flush=True,
            )
        corrected = scores - WEIGHT * taken_off(2000, NEIGHBOURS)
        for count in arguments.candidates:
            of_images = np.where(_best(scores, count, axis=1), corrected, corrected - 1e3)
            of_captions = np.where(_best(scores, count, axis=0), corrected, corrected - 1e3)
            found = RecallReport(
                evaluate_scores(of_images, data.caption_to_image).i2t,
                evaluate_scores(of_captions, data.caption_to_image).t2i,
            )
            print(f"{count} candidates by plain score: rsum {found.rsum:.1f}", flush=True)


def _best(scores: np.ndarray, count: int, axis: int) -> np.ndarray:
    """True for the `count` highest scores of every row (`axis` 1) or column (0)."""
    return scores >= np.sort(scores, axis=axis).take([-count], axis)


if __name__ == "__main__":
    main()
