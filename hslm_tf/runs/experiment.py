"""Training a run: vocabulary, model, training and checkpoints from one configuration."""

import logging
import time
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from hslm_tf.config import RunConfig
from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.json_object import write_object
from hslm_tf.data.pipeline import (
    captions_of_step,
    check_shares,
    steps_per_epoch,
    training_batches,
)
from hslm_tf.data.sample import sample_word_vectors
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.images.extraction_config import check_same
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.checkpoints import (
    RunCheckpoint,
    last_checkpoint,
    load_checkpoint,
    set_damaged_aside,
)
from hslm_tf.runs.devices import Devices
from hslm_tf.runs.epoch_log import write_epoch_log
from hslm_tf.runs.explained_errors import explained_errors
from hslm_tf.runs.interruption import Interruption
from hslm_tf.runs.provenance import Provenance
from hslm_tf.runs.recipe import adapt_optimizer, loss_of, optimizer_of
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.run_lock import locked
from hslm_tf.runs.splits import Splits, check_images
from hslm_tf.runs.tensorboard_log import StepTrace, TensorBoardLog
from hslm_tf.runs.training_state import TrainingState
from hslm_tf.runs.validation import DevRecall
from hslm_tf.text.caption_cache import cached_split
from hslm_tf.text.split_captions import SplitCaptions
from hslm_tf.text.tokenizer import TokenizedCaptions
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.text.word_vectors import load_word_vectors
from hslm_tf.training.callbacks import (
    CollapseWarning,
    FirstStep,
    LearningRateLog,
    SeedOfEpoch,
    Throughput,
    Validation,
)
from hslm_tf.training.divergence import StopOnDivergence
from hslm_tf.training.epoch_loop import run_epochs

logger = logging.getLogger("hslm_tf")


def train(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    verbose: int = 1,
    profiled_steps: tuple[int, int] | None = None,
    save_every: int | None = 500,
    strategy: tf.distribute.Strategy | None = None,
    measured: RetrievalDataset | None = None,
) -> HSLM:
    """Trains a model, or continues a run that was interrupted.

    The run's directory is made once the model is built, so that a wrong configuration leaves none.
    A run is continued from its newest checkpoint that is not damaged: order, negatives, dropout,
    optimizer and means of the epoch go on as if it had never stopped. Ctrl-C and SIGTERM save one
    and stop after the step.

    Args:
        config: the run's configuration.
        run: where configuration, vocabulary, checkpoints and logs are.
        splits: data to train on and to choose by.
        verbose: 1 shows a progress bar, 0 nothing.
        profiled_steps: first and last step, counted from 1, of which to write a TensorBoard trace.
        save_every: steps between checkpoints within an epoch; None: only its end is saved.
        strategy: shares each batch among several devices, see `make_strategy`; None: one device.
            Of several workers, which all see the run's directory, only the first writes to it.
        measured: the split that the run is measured on in the end, for the record of its data.

    Returns:
        The model after the last epoch, with averaged weights where the optimizer averages. If the
        run was out of patience already, the model in `last.keras`.

    Raises:
        DataError: if region features are not finite, or a file of the run is damaged.
        OSError: if vocabulary, word vectors or photographs cannot be read, or the run cannot be
            written.
        ValueError: if the vocabulary or the word vectors are broken, photographs are asked for and
            images have no ids, there are fewer steps than `profiled_steps`, or a run would go on
            with other data.
        ConnectionError: if another worker has ended.
        FloatingPointError: if loss or gradients are not finite.
        KeyboardInterrupt: if Ctrl-C or SIGTERM came; the checkpoint is saved then.
    """
    devices = Devices(strategy)
    with explained_errors(run, devices.has_workers):
        return _train(config, run, splits, verbose, profiled_steps, save_every, devices, measured)


def _train(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    verbose: int,
    profiled_steps: tuple[int, int] | None,
    save_every: int | None,
    devices: Devices,
    measured: RetrievalDataset | None,
) -> HSLM:
    started = time.perf_counter()
    training = config.training
    keras.utils.set_random_seed(training.seed)
    check_shares(splits.train.num_captions, training.batch_size, devices.replicas)
    steps = steps_per_epoch(splits.train, training.batch_size)
    with devices.scope():
        found = load_checkpoint(run)
    state = found.state if found else TrainingState(replicas=devices.replicas)
    devices.check_agreement(run, (state.epochs, state.steps))
    if state.replicas != devices.replicas:
        logger.warning(
            "%s was trained by %d devices and goes on with %d: dropout differs",
            run.path,
            state.replicas,
            devices.replicas,
        )
        state.replicas = devices.replicas
    to_go = steps * (training.epochs - state.epochs) - state.steps
    if profiled_steps is not None and profiled_steps[1] > to_go:
        raise ValueError(
            f"There are only {to_go} steps to go. Received: profiled_steps={profiled_steps}"
        )
    made = (split.extraction for split in splits)
    check_same(*made, *(split.source for split in splits))
    provenance = Provenance(run, {**splits._asdict(), "measured": measured})
    captions = cached_split(splits.train.captions)
    with devices.scope():
        if found:
            provenance.check()
            model = found.model
            adapt_optimizer(model.optimizer, training, steps, devices.replicas)
        else:
            if config.data.images is not None:
                check_images(config.data.images, splits.dev)
            model = new_model(config, captions)
            model.compile(
                optimizer=optimizer_of(training, steps, devices.replicas),
                loss=loss_of(training, config.model, steps),
            )
    with devices.own(run) as own, locked(own), Interruption() as interruption:
        own.write_config(config)
        if found and devices.writes:
            set_damaged_aside(run, found)
        if splits.train.extraction is not None:
            with atomic_write(own.features_file) as draft:
                write_object(draft, splits.train.extraction)
        own.tidy()
        write_epoch_log(own.log_file, state.history)
        own.write_progress(state.progress)
        Vocabulary(model.vocabulary).save(own.vocabulary_file)
        tokens = model.tokenizer.ids_of_split(captions)
        if tokens.num_truncated:
            logger.warning(
                "%d of %d training captions are longer than %d tokens and were truncated",
                tokens.num_truncated,
                len(tokens),
                config.model.max_tokens,
            )
        if state.epochs and state.out_of_patience(training.patience):
            logger.info("No better epoch since epoch %d: nothing to do", state.best_epoch)
            return model
        if state.epochs < training.epochs:
            provenance.record(own, config, state)
        recall = DevRecall(config, splits)
        checkpoint = RunCheckpoint(
            own,
            training.patience,
            state,
            save_every,
            interruption,
            devices.writes,
            heads=lambda: recall.heads,
        )
        callbacks = [
            FirstStep(started),
            *_callbacks(config, own, splits, interruption, lambda: last_checkpoint(run), recall),
            *([StepTrace(own, profiled_steps)] if profiled_steps else []),
            checkpoint,
        ]
        try:
            _fit(model, config, splits.train, tokens, devices, state, callbacks, verbose)
        except KeyboardInterrupt:
            if interruption.stopped:
                checkpoint.save()
            raise
    return model


def _fit(
    model: HSLM,
    config: RunConfig,
    dataset: RetrievalDataset,
    tokens: TokenizedCaptions,
    devices: Devices,
    state: TrainingState,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int,
) -> None:
    training = config.training
    steps = steps_per_epoch(dataset, training.batch_size)
    # An epoch whose steps are all done has only to be measured.
    begun = (state.epochs + state.steps // steps, state.steps % steps)
    batches = devices.batches(
        lambda shares: training_batches(
            dataset, tokens, training.batch_size, training.seed, *begun, shares
        )
    )
    start = (state.epochs, state.steps)
    step = devices.step(model)
    run_epochs(model, batches, step, training.epochs, steps, callbacks, start, verbose)


def new_model(config: RunConfig, captions: SplitCaptions) -> HSLM:
    """Builds an untrained model with its vocabulary and, where configured, pretrained word vectors.

    Args:
        config: the run's configuration.
        captions: training captions, the source of the vocabulary unless one is configured.

    Returns:
        The model.
    """
    if config.data.vocabulary is None:
        vocabulary = Vocabulary.build(captions.counts(), config.data.min_count)
    else:
        vocabulary = Vocabulary.load(config.data.vocabulary)
    policy = keras.config.dtype_policy().name
    if policy not in ("float32", config.training.precision):
        logger.warning(
            "Keras's global policy is %s; the run has a precision of its own, %s (--precision)",
            policy,
            config.training.precision,
        )
    model = HSLM(config.model, vocabulary.words, dtype=config.training.precision)
    if config.data.word_vectors is not None:
        path = config.data.word_vectors
        vectors, found = load_word_vectors(
            sample_word_vectors() if path == "sample" else path,
            vocabulary.words,
            config.model.word_dim,
            config.training.seed,
            config.data.rescale_word_vectors,
        )
        model.text_encoder.get_layer("word_embedding").set_weights([vectors])
        missing = [word for word, known in zip(vocabulary.words, found, strict=True) if not known]
        logger.info(
            "%d of %d words have pretrained vectors; %d (%.1f%%) start random: %s",
            len(vocabulary) - len(missing),
            len(vocabulary),
            len(missing),
            100 * len(missing) / len(vocabulary),
            " ".join(missing[:10]) + (" ..." if len(missing) > 10 else ""),
        )
    return model


def _callbacks(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    interruption: Interruption,
    checkpoint: Callable[[], str],
    recall: DevRecall,
) -> list[keras.callbacks.Callback]:
    training = config.training
    captions = splits.train.num_captions
    log = TensorBoardLog(run, config, splits.dev, recall)
    return [
        SeedOfEpoch(training.seed),
        LearningRateLog(),
        StopOnDivergence(
            lambda *step: captions_of_step(captions, training.batch_size, training.seed, *step),
            checkpoint,
        ),
        Throughput(captions),
        CollapseWarning(training.margin),
        Validation(
            interruption.at_once(log.measure), training.validate_every, RecallReport.names()
        ),
        log,
    ]
