"""Training a run: vocabulary, model, training and checkpoints from one configuration."""

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from hslm_tf.config import RunConfig
from hslm_tf.data.atomic_write import atomic_write, remove_drafts
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import write_object
from hslm_tf.data.pipeline import captions_of_step, steps_per_epoch, training_batches
from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.images.extraction_config import check_same
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.checkpoints import (
    RunCheckpoint,
    last_checkpoint,
    load_checkpoint,
    set_damaged_aside,
)
from hslm_tf.runs.epoch_log import EpochLines, write_epoch_log
from hslm_tf.runs.interruption import Interruption
from hslm_tf.runs.provenance import Provenance
from hslm_tf.runs.recipe import (
    adapt_optimizer,
    loss_of,
    new_model,
    optimizer_of,
    training_tokens,
)
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import Splits
from hslm_tf.runs.tensorboard_log import TensorBoardLog
from hslm_tf.runs.token_states import token_states
from hslm_tf.runs.training_state import TrainingState
from hslm_tf.runs.validation import DevRecall
from hslm_tf.text.tokenizer import TokenizedCaptions
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.training.callbacks import (
    CollapseWarning,
    FirstStep,
    LearningRateLog,
    SeedOfEpoch,
    StopOnDivergence,
    Throughput,
    TrainedWeights,
    Validation,
)

logger = logging.getLogger("hslm_tf")


def train(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    save_every: int | None = 500,
    strategy: tf.distribute.Strategy | None = None,
    measured: RetrievalDataset | None = None,
) -> RecallReport:
    """Trains a model, or continues a run; returns what the best epoch came to on dev."""
    with _data_errors():
        return _train(config, run, splits, save_every, strategy, measured)


@contextlib.contextmanager
def _data_errors() -> Iterator[None]:
    """TensorFlow passes on the text only of an error in the pipeline."""
    try:
        yield
    except tf.errors.OpError as error:
        if found := re.search(r"DataError: (.+)", error.message):
            raise DataError(found[1]) from None
        raise


def _train(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    save_every: int | None,
    strategy: tf.distribute.Strategy | None,
    measured: RetrievalDataset | None,
) -> RecallReport:
    started = time.perf_counter()
    training = config.training
    keras.utils.set_random_seed(training.seed)
    replicas = strategy.num_replicas_in_sync if strategy else 1
    scope = strategy.scope if strategy else contextlib.nullcontext
    steps = steps_per_epoch(splits.train, training.batch_size, replicas)
    with scope():
        found = load_checkpoint(run)
    state = found.state if found else TrainingState(replicas=replicas)
    if state.replicas != replicas:
        logger.warning(
            "%s was trained by %d devices and goes on with %d: dropout differs",
            run.path,
            state.replicas,
            replicas,
        )
        state.replicas = replicas
    extractions = (split.extraction for split in splits)
    check_same(*extractions, *(split.source for split in splits))
    provenance = Provenance(run, {**splits._asdict(), "measured": measured})
    captions = splits.train.captions
    with scope():
        if found:
            provenance.check()
            model = found.model
            adapt_optimizer(model.optimizer, training, steps)
        else:
            model = new_model(config, captions)
            model.compile(
                optimizer=optimizer_of(training, config.model, steps),
                loss=loss_of(training, config.model, steps),
            )
    with run.locked(), Interruption() as interruption:
        run.write_config(config)
        if found:
            set_damaged_aside(run, found)
        if splits.train.extraction is not None:
            with atomic_write(run.features_file) as draft:
                write_object(draft, splits.train.extraction)
        remove_drafts(run.path)
        write_epoch_log(run.log_file, state.history)
        run.write_progress(state.progress)
        if not config.model.pretrained_text:
            Vocabulary(model.vocabulary).save(run.vocabulary_file)
        tokens = training_tokens(model, captions)
        if tokens.num_truncated:
            logger.warning(
                "%d of %d training captions are longer than %d tokens and were truncated",
                tokens.num_truncated,
                len(tokens),
                config.model.max_tokens,
            )
        if state.epochs and state.out_of_patience(training.patience):
            logger.info("No better epoch since epoch %d: nothing to do", state.best_epoch)
            return state.best_recall
        if state.epochs < training.epochs:
            provenance.record(run, config, state)
        recall = DevRecall(config, splits)
        checkpoint = RunCheckpoint(
            run,
            training.patience,
            state,
            save_every,
            interruption,
            heads=lambda: recall.heads,
        )
        callbacks = [
            FirstStep(started),
            *_callbacks(config, run, splits, interruption, state, recall),
            checkpoint,
            EpochLines(state, training.epochs, steps),
        ]
        try:
            _fit(model, config, splits.train, tokens, state, callbacks)
        except KeyboardInterrupt:
            if interruption.stopped:
                checkpoint.save()
            raise
    return state.best_recall


def _fit(
    model: HSLM,
    config: RunConfig,
    dataset: RetrievalDataset,
    tokens: TokenizedCaptions,
    state: TrainingState,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Trains from where the state says; in two calls of `fit` where that is within an epoch."""
    training = config.training
    steps = steps_per_epoch(dataset, training.batch_size)
    states = token_states(model, tokens)

    def fit(last_epoch: int, *more: keras.callbacks.Callback) -> None:
        # The rest of a begun epoch knows its length: on an exhausted iterator Keras would call the
        # step once more, and the counters of dropout would move.
        position = state.epochs, state.steps
        batches = training_batches(
            dataset, tokens, training.batch_size, training.seed, *position, states=states
        )
        model.fit(
            batches,
            initial_epoch=state.epochs,
            epochs=last_epoch,
            callbacks=[*callbacks, *more],
            shuffle=False,
            verbose=0,
        )

    if state.steps:
        # The checkpoint's callback puts back the means of the begun epoch.
        if state.steps == steps:
            _measure_epoch(model, state.epochs, callbacks)
        else:
            fit(state.epochs + 1, TrainedWeights())
        if state.epochs == training.epochs or state.out_of_patience(training.patience):
            model.optimizer.finalize_variable_values(model.trainable_variables)
            return
    fit(training.epochs)


def _measure_epoch(model: HSLM, epoch: int, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Ends an epoch whose steps are all done; `fit` cannot train on nothing."""
    listed = keras.callbacks.CallbackList(callbacks, model=model)
    listed.on_train_begin()
    model.reset_metrics()
    listed.on_epoch_begin(epoch)
    listed.on_epoch_end(epoch, model.get_metrics_result())
    listed.on_train_end()


def _callbacks(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    interruption: Interruption,
    state: TrainingState,
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
            lambda: last_checkpoint(run),
            start=(state.epochs, state.steps),
        ),
        Throughput(captions, steps_per_epoch(splits.train, training.batch_size)),
        CollapseWarning(training.margin),
        Validation(
            interruption.at_once(log.measure),
            training.validate_every,
            RecallReport.names(),
            training.epochs,
        ),
        log,
    ]
