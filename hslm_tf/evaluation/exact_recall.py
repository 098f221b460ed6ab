"""Recall of models on a dataset from blocks of scores, which are streamed or written to a file."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.atomic_write import locked, naming, take_room
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.evaluation_state import EvaluationState
from hslm_tf.evaluation.protocols import Protocol, check_protocol, evaluate_scores, fold_ranges
from hslm_tf.evaluation.ranks import (
    RecallReport,
    check_captions,
    check_numbers,
    mean_report,
    recall_report,
)
from hslm_tf.evaluation.scoring import caption_order, score_blocks
from hslm_tf.evaluation.streaming_ranks import StreamingRanks
from hslm_tf.models.hslm import HSLM

logger = logging.getLogger("hslm_tf")

Progress = Callable[[int], object]
Watch = Callable[[np.ndarray, np.ndarray], object]
Arrays = Mapping[str, np.ndarray]
# Called with models, dataset and captions; yields what `score_blocks` yields.
ScoreBlocks = Callable[
    [Sequence[HSLM], RetrievalDataset, np.ndarray], Iterator[tuple[np.ndarray, np.ndarray]]
]


def evaluate(model: HSLM, dataset: RetrievalDataset, protocol: Protocol = "all") -> RecallReport:
    """Scores the images of a dataset against its captions and reports recall.

    Args:
        model: the model.
        dataset: images and captions.
        protocol: as for `evaluate_scores`.

    Returns:
        The report.

    Raises:
        ValueError: as for `evaluate_models`.

    Example:
        >>> report = hslm_tf.evaluate(model, dataset)
        >>> print(f"rsum {report.rsum:.1f}")
    """
    return evaluate_models([model], dataset, protocol)


def evaluate_models(
    models: Sequence[HSLM],
    dataset: RetrievalDataset,
    protocol: Protocol = "all",
    state: EvaluationState | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
    blocks: ScoreBlocks | None = None,
) -> RecallReport:
    """Measures recall without a matrix of scores.

    Encoded images stay in memory, captions are streamed. Folds are measured one by one, each
    with its own images and captions only: five folds take a fifth of the time of the whole.

    Args:
        models: one model, or an ensemble whose scores are averaged.
        dataset: images and captions.
        protocol: as for `evaluate_scores`.
        state: where progress is saved, and from where it continues. At the end it holds all that
            the report needs, until the caller clears it.
        progress: called with the number of captions that are done since the last call.
        watch: called with the scores of every block, float32 `[num_images, b]`, and its captions,
            int `[b]`, both numbered within the fold, such as `WatchedScores.add`. Blocks that
            `state` holds do not come again.
        blocks: what computes the scores, such as `CandidateScores`; None: `score_blocks`, which
            computes them all exactly.

    Returns:
        The report, that of `evaluate_scores` on the matrix of scores.

    Raises:
        ValueError: if the protocol does not fit the dataset, an image has no caption, region
            features are not finite, or a score is NaN.
    """
    check_protocol(protocol, dataset.num_images)
    check_captions(dataset.caption_to_image, dataset.num_images, dataset.num_captions)
    folds = [dataset.subset(*images) for images in fold_ranges(protocol, dataset.num_images)]
    streams = [StreamingRanks(fold.caption_to_image, fold.num_images) for fold in folds]
    saved = state.load() if state else {}
    for number, stream in enumerate(streams if saved else (), start=1):
        prefix = f"fold {number} "
        stream.restore(
            {key.removeprefix(prefix): saved[key] for key in saved if key.startswith(prefix)}
        )
    _report_start(sum(stream.num_captions for stream in streams), dataset, progress)

    def arrays() -> Arrays:
        return {
            f"fold {number} {key}": value
            for number, stream in enumerate(streams, start=1)
            for key, value in stream.state().items()
        }

    for number, (fold, stream) in enumerate(zip(folds, streams, strict=True), start=1):
        try:
            for captions, scores in _blocks_left(models, fold, stream.num_captions, blocks):
                stream.add(scores, captions)
                if watch is not None:
                    watch(scores, captions)
                _note(len(captions), arrays, state, progress)
        except ValueError as error:
            if len(folds) == 1:
                raise
            raise ValueError(f"fold {number} of {len(folds)}: {error}") from None
    if state is not None:
        state.save(arrays())
    return mean_report([recall_report(*stream.ranks()) for stream in streams])


def evaluate_to_file(
    models: Sequence[HSLM],
    dataset: RetrievalDataset,
    file: Path,
    protocol: Protocol = "all",
    state: EvaluationState | None = None,
    progress: Progress | None = None,
) -> RecallReport:
    """Measures recall and leaves the matrix of scores in a file, through a memory map."""
    # The file appears when it is complete; until then the scores are in a draft beside it.
    check_protocol(protocol, dataset.num_images)
    check_captions(dataset.caption_to_image, dataset.num_images, dataset.num_captions)
    draft = file.with_name(f"draft-{file.name}")
    if draft.is_symlink():
        raise OSError(f"{draft} is a link, expected a file that this evaluation began, or none")
    with naming(file, draft), locked(draft, f"{file}: another process writes it"):
        shape = (dataset.num_images, dataset.num_captions)
        saved = state.load() if state else {}
        # The lock has made an empty draft where there was none.
        done = int(saved["captions"]) if saved and draft.stat().st_size else 0
        mode = "r+" if done else "w+"
        try:
            scores = np.lib.format.open_memmap(draft, mode, np.float32, shape)
            with open(draft, "r+b") as opened:
                take_room(opened.fileno(), draft.stat().st_size)
        except OSError:
            draft.unlink()
            raise
        _report_start(done, dataset, progress)

        def arrays() -> Arrays:
            scores.flush()
            return {"captions": np.array(done)}

        try:
            for captions, block in _blocks_left(models, dataset, done):
                check_numbers(block, captions)
                scores[:, captions] = block
                done += len(captions)
                _note(len(captions), arrays, state, progress)
        except BaseException:
            if state is None or not state.path.exists():
                draft.unlink()
            raise
        scores.flush()
        report = evaluate_scores(scores, dataset.caption_to_image, protocol)
        os.replace(draft, file)
        if state is not None:
            state.clear()
        return report


def _report_start(done: int, dataset: RetrievalDataset, progress: Progress | None) -> None:
    if done:
        logger.info("Continuing after %d of %d captions", done, dataset.num_captions)
        if progress is not None:
            progress(done)


def _blocks_left(
    models: Sequence[HSLM],
    dataset: RetrievalDataset,
    done: int,
    blocks: ScoreBlocks | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Captions that are left, block by block, and their scores."""
    # Nothing is encoded where nothing is left.
    if done < dataset.num_captions:
        left = caption_order(models[0], dataset)[done:]
        yield from (blocks or score_blocks)(models, dataset, left)


def _note(
    count: int,
    arrays: Callable[[], Arrays],
    state: EvaluationState | None,
    progress: Progress | None,
) -> None:
    if progress is not None:
        progress(count)
    if state is not None:
        state.save_if_due(arrays)
