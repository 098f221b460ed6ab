"""A whole experiment: data, vocabulary, model, training and checkpoints from one configuration."""

import dataclasses
import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.checkpoints import RunCheckpoint
from hslm_tf.config import RunConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.loading import load
from hslm_tf.data.pipeline import steps_per_epoch, training_batches
from hslm_tf.data.sample import sample_folder, sample_word_vectors
from hslm_tf.model import HSLM
from hslm_tf.recipe import loss_of, optimizer_of, schedule_of
from hslm_tf.retrieval.evaluation import evaluate_models
from hslm_tf.retrieval.ranks import RecallReport
from hslm_tf.run_directory import RunDirectory
from hslm_tf.text.token_cache import cached_tokens
from hslm_tf.text.tokenization import tokenize
from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.text.word_vectors import load_word_vectors
from hslm_tf.training.callbacks import (
    CollapseWarning,
    FirstStep,
    LearningRateLog,
    SeedOfEpoch,
    StopOnNaN,
    Throughput,
    Validation,
)

logger = logging.getLogger("hslm_tf")


class Splits(NamedTuple):
    """What a run trains on and what chooses its best checkpoint."""

    train: RetrievalDataset
    dev: RetrievalDataset


def dataset_path(config: RunConfig) -> str | Path:
    """Returns where the configured dataset lies, the built-in sample included."""
    return sample_folder() if config.data.dataset == "sample" else config.data.dataset


def load_split(config: RunConfig, split: str, captions_optional: bool = False) -> RetrievalDataset:
    """Opens a split of the configured dataset and checks that the model fits it.

    Args:
        config: the run's configuration.
        split: name of the split.
        captions_optional: accepts a split of images alone, to search in.

    Returns:
        The dataset.

    Raises:
        DataError: if the files are missing or broken.
        ValueError: if its regions are not what the model is configured for.
    """
    dataset = load(dataset_path(config), split, config.data.layout, captions_optional)
    if dataset.region_dim != config.model.region_dim:
        raise ValueError(
            f"{dataset.source}: region features are {dataset.region_dim} wide, the model is "
            f"configured for {config.model.region_dim} (--region-dim)"
        )
    if dataset.max_regions > config.model.max_regions:
        raise ValueError(
            f"{dataset.source}: {dataset.max_regions} regions an image, the model is configured "
            f"for at most {config.model.max_regions} (--max-regions)"
        )
    return dataset


def train(
    config: RunConfig,
    run: RunDirectory,
    splits: Splits,
    verbose: int = 1,
    profiled_steps: tuple[int, int] | None = None,
) -> HSLM:
    """Trains a model, or continues a run that was interrupted.

    The run's directory is made when the configuration has turned out to work. A run is continued
    from its last complete epoch: order, negatives, dropout and optimizer go on as if it had never
    stopped.

    Args:
        config: the run's configuration.
        run: where configuration, vocabulary, checkpoints and logs are.
        splits: data to train on and to choose by.
        verbose: 1 shows a progress bar, 0 nothing.
        profiled_steps: first and last step, counted from 1, of which to write a TensorBoard trace.

    Returns:
        The model after the last epoch, with averaged weights where the optimizer averages; of a run
        that is out of patience, as `last.keras` holds it.

    Raises:
        DataError: if region features are not finite.
        OSError: if the vocabulary or the word vectors cannot be read, or the run not be written.
        ValueError: if the vocabulary or the word vectors are broken, or there are fewer steps than
            `profiled_steps`.
        FloatingPointError: if the loss is not finite.
    """
    started = time.perf_counter()
    training = config.training
    keras.utils.set_random_seed(training.seed)
    steps = steps_per_epoch(splits.train, training.batch_size)
    done = run.progress["epochs"]
    if profiled_steps is not None and profiled_steps[1] > steps * (training.epochs - done):
        raise ValueError(
            f"There are only {steps * (training.epochs - done)} steps to go. "
            f"Received: profiled_steps={profiled_steps}"
        )
    if done:
        model = keras.saving.load_model(run.last_model)
        # The number of epochs may have changed, and with it the schedule.
        model.optimizer.learning_rate = schedule_of(training, steps)
    else:
        model = new_model(config, splits.train.captions)
        model.compile(optimizer=optimizer_of(training, steps), loss=loss_of(training, steps))
    run.write_config(config)
    run.trim_log()
    Vocabulary(model.vocabulary).save(run.vocabulary_file)
    tokens = cached_tokens(model.tokenizer, model.vocabulary, splits.train.captions)
    if tokens.num_truncated:
        logger.warning(
            "%d of %d training captions are longer than %d tokens and were truncated",
            tokens.num_truncated,
            len(tokens),
            config.model.max_tokens,
        )
    if done and run.out_of_patience(training.patience):
        logger.info("No better epoch since epoch %d: nothing to do", run.progress["best_epoch"])
        return model
    try:
        model.fit(
            training_batches(splits.train, tokens, training.batch_size, training.seed, done),
            epochs=training.epochs,
            initial_epoch=done,
            shuffle=False,
            verbose=verbose,
            callbacks=[
                FirstStep(started),
                *_callbacks(config, splits),
                keras.callbacks.TensorBoard(run.tensorboard, profile_batch=profiled_steps or 0),
                keras.callbacks.CSVLogger(run.log_file, append=True),
                RunCheckpoint(run, training.patience),
            ],
        )
    except tf.errors.InvalidArgumentError as error:
        # Of what a pipeline raises, TensorFlow passes on no more than the text.
        found = re.search(r"DataError: (.+)", error.message)
        if found is None:
            raise
        raise DataError(found[1]) from None
    return model


def measure(model: HSLM, dataset: RetrievalDataset) -> RecallReport:
    """Scores all images of a dataset against all its captions and reports recall.

    Args:
        model: the model.
        dataset: images and captions.

    Returns:
        The report on the whole dataset.
    """
    return evaluate_models([model], dataset)


def open_split(
    run: RunDirectory,
    split: str | None = None,
    dataset: str | None = None,
    captions_optional: bool = False,
) -> RetrievalDataset:
    """Opens a split to measure a run on, or to search in.

    Args:
        run: the run's directory.
        split: name of the split; by default the test split of the run.
        dataset: folder or HDF5 file; by default the one that the run was trained on.
        captions_optional: accepts a split of images alone, to search in.

    Returns:
        The dataset.

    Raises:
        FileNotFoundError: if there is no run, or it has no model yet.
        DataError: if the data are missing or broken.
    """
    config = run.config()
    if dataset is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, dataset=dataset))
    if not run.best_model.exists():
        raise FileNotFoundError(f"{run.path} has no model yet: there is no {run.best_model}")
    return load_split(config, split or config.data.test_split, captions_optional)


def new_model(config: RunConfig, captions: Sequence[str]) -> HSLM:
    """Builds an untrained model with its vocabulary and, where configured, pretrained word vectors.

    Args:
        config: the run's configuration.
        captions: training captions, the source of the vocabulary unless one is configured.

    Returns:
        The model.
    """
    if config.data.vocabulary is None:
        words = tokenize(tf.constant(captions, tf.string))
        tokens = np.char.decode(words.flat_values.numpy().astype(bytes), "utf-8")
        vocabulary = Vocabulary.build([tokens.tolist()], config.data.min_count)
    else:
        vocabulary = Vocabulary.load(config.data.vocabulary)
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


def _callbacks(config: RunConfig, splits: Splits) -> list[keras.callbacks.Callback]:
    training = config.training
    return [
        SeedOfEpoch(training.seed),
        LearningRateLog(),
        StopOnNaN(),
        Throughput(splits.train.num_captions),
        CollapseWarning(training.margin),
        Validation(
            lambda model: measure(model, splits.dev).as_dict(),
            training.validate_every,
            RecallReport.names(),
        ),
    ]
