"""What bfloat16 changes: the hardest negatives, gradients, and recall on real data.

    python -m benchmarks.bfloat16 runs/flickr8k
    python -m benchmarks.bfloat16 runs/flickr8k --split test --batches 40

The weights of a trained run are taken as they are, once with a float32 policy and once with
mixed_bfloat16, so that every difference is one of precision.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rich
import tyro
from rich.table import Table

from hslm_tf.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class Arguments:
    """What bfloat16 changes about a trained run."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""

    split: str | None = None
    """Split to measure recall on; by default the run's test split."""

    batches: int = 20
    """Training batches whose hardest negatives are compared."""


def measure(arguments: Arguments) -> dict[str, dict[str, float]]:
    """Compares hardest negatives, gradients and recall in both precisions.

    Args:
        arguments: what to measure.

    Returns:
        `"mining"`: share of queries with another hardest negative in bfloat16, how much lower its
        float32 score is, relative distance and cosine of the gradients for the same negatives;
        `"float32"` and `"mixed_bfloat16"`: the recall report.
    """
    import keras

    from hslm_tf.data.pipeline import training_batches
    from hslm_tf.evaluation.exact_recall import evaluate
    from hslm_tf.models.hslm import HSLM
    from hslm_tf.runs.splits import load_split, open_split
    from hslm_tf.training import HardestNegativeTripletLoss

    run = RunDirectory(arguments.run)
    config = run.config()
    wide = keras.saving.load_model(run.best_model)
    narrow = HSLM.from_config({**wide.get_config(), "dtype": "mixed_bfloat16"})
    narrow.set_weights(wide.get_weights())
    train = load_split(config, config.data.train_split)
    tokens = wide.tokenizer.tokenize_all(train.captions)
    batches = training_batches(train, tokens, config.training.batch_size)
    loss = HardestNegativeTripletLoss(config.training.margin)
    compared = [
        compare_batch(wide, narrow, loss, batch) for batch in batches.take(arguments.batches)
    ]
    dataset = open_split(run, arguments.split)
    reports = {model.policy_name: evaluate(model, dataset).as_dict() for model in (wide, narrow)}
    names = ("other_negative", "score_lost", "gradient_distance", "gradient_cosine")
    return {"mining": dict(zip(names, np.mean(compared, axis=0).tolist(), strict=True)), **reports}


def compare_batch(wide, narrow, triplet_loss, batch) -> tuple[float, float, float, float]:
    """Finds hardest negatives of one batch and takes gradients in both precisions.

    Args:
        wide: float32 model.
        narrow: the same in mixed bfloat16.
        triplet_loss: the loss.
        batch: what `training_batches` gives.

    Returns:
        Share of other negatives, score lost with them, gradient distance and cosine.
    """
    import tensorflow as tf

    from hslm_tf.training.retrieval_loss import admissible_negatives
    from hslm_tf.training.triplet_loss import Negatives, hardest

    def encode(model):
        images = model.image_encoder(
            {key: batch[key] for key in ("region_features", "region_mask")}
        )
        return images, model.text_encoder({"token_ids": batch["token_ids"]})

    admissible = admissible_negatives(batch["image_index"])
    scores = [model.score_all(*encode(model)) for model in (wide, narrow)]
    chosen = [(hardest(s, admissible), hardest(tf.transpose(s), admissible)) for s in scores]
    other = np.concatenate([a != b for a, b in zip(*chosen, strict=True)])
    lost = [
        tf.gather(matrix, wide_choice, batch_dims=1) - tf.gather(matrix, choice, batch_dims=1)
        for matrix, wide_choice, choice in zip(
            (scores[0], tf.transpose(scores[0])), *chosen, strict=True
        )
    ]
    lost = np.concatenate(lost)

    every = tf.ones(tf.shape(admissible)[0], tf.bool)
    negatives = Negatives(chosen[0][0], every, chosen[0][1], every)

    def gradient(model) -> np.ndarray:
        rows = tf.range(tf.shape(admissible)[0])
        with tf.GradientTape() as tape:
            images, texts = encode(model)
            pairs = model.score_rows(
                images,
                texts,
                tf.concat([rows, rows, negatives.image], axis=0),
                tf.concat([rows, negatives.caption, rows], axis=0),
            )
            loss = triplet_loss.of_scores(*tf.split(pairs, 3), negatives).loss
        found = tape.gradient(loss, model.trainable_variables)
        return np.concatenate([tf.reshape(tf.convert_to_tensor(g), [-1]) for g in found])

    a, b = gradient(wide), gradient(narrow)
    norms = np.linalg.norm(a), np.linalg.norm(b)
    return (
        float(np.mean(other)),
        float(np.mean(lost[other])) if other.any() else 0.0,
        float(np.linalg.norm(a - b) / norms[0]),
        float(a @ b / (norms[0] * norms[1])),
    )


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.bfloat16", args=args)
    try:
        found = measure(arguments)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    mining, wide, narrow = (found[key] for key in ("mining", "float32", "mixed_bfloat16"))
    table = Table(title=f"bfloat16 against float32, {arguments.run}")
    for heading in ("what", "float32", "bfloat16", "difference"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, value in wide.items():
        cells = (f"{value:.2f}", f"{narrow[name]:.2f}", f"{narrow[name] - value:+.2f}")
        table.add_row(name, *cells)
    table.add_section()
    table.add_row("queries with another hardest negative", "", f"{mining['other_negative']:.2%}")
    table.add_row("float32 score lost with it", "", f"{mining['score_lost']:.4f}")
    distance, cosine = mining["gradient_distance"], mining["gradient_cosine"]
    table.add_row("gradients at equal negatives, distance", "", f"{distance:.4f}")
    table.add_row("gradients at equal negatives, cosine", "", f"{cosine:.5f}")
    rich.print(table)
    print(json.dumps({"benchmark": "bfloat16", "run": str(arguments.run), **found}))


if __name__ == "__main__":
    main()
