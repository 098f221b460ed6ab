"""Makes what a training needs: model, optimizer, learning rate, losses by step, strategy."""

import itertools
import logging
from collections.abc import Sequence

import keras
import tensorflow as tf

from hslm_tf.config import ModelConfig, RunConfig, TrainingConfig
from hslm_tf.data.sample import sample_word_vectors
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.text_backbone import load_text_backbone
from hslm_tf.text.split_captions import cached_split
from hslm_tf.text.tokenizer import TokenizedCaptions
from hslm_tf.text.vocabulary import training_vocabulary
from hslm_tf.text.word_vectors import load_word_vectors
from hslm_tf.training import (
    ContrastiveLoss,
    HardestNegativeTripletLoss,
    LossCurriculum,
    NegativeCurriculum,
)
from hslm_tf.training.backbone_adam import BackboneAdam
from hslm_tf.training.retrieval_loss import RetrievalLoss

logger = logging.getLogger("hslm_tf")

# Epochs in which words and what they attend to count as much as the global vectors, where the
# contrastive loss compares parts; later they count a tenth. See docs/history/pointing.md.
_ALIGNMENT_EPOCHS = 4


def new_model(config: RunConfig, captions: Sequence[str]) -> HSLM:
    """Builds an untrained model with its vocabulary, and with what is pretrained, if configured."""
    policy = keras.config.dtype_policy().name
    if policy not in ("float32", config.training.precision):
        logger.warning(
            "Keras's global policy is %s; the run has a precision of its own, %s (--precision)",
            policy,
            config.training.precision,
        )
    if config.data.text_backbone is not None:
        backbone = load_text_backbone(config.data.text_backbone)
        return HSLM(config.model, backbone, dtype=config.training.precision)
    vocabulary = training_vocabulary(
        cached_split(captions).counts(), config.data.vocabulary, config.data.min_count
    )
    model = HSLM(config.model, vocabulary.words, dtype=config.training.precision)
    if config.data.word_vectors is not None:
        _start_from_word_vectors(model, config)
    return model


def _start_from_word_vectors(model: HSLM, config: RunConfig) -> None:
    path, vocabulary = config.data.word_vectors, model.vocabulary
    vectors, found = load_word_vectors(
        sample_word_vectors() if path == "sample" else path,
        vocabulary,
        config.model.word_dim,
        config.training.seed,
    )
    model.text_encoder.get_layer("word_embedding").set_weights([vectors])
    missing = [word for word, known in zip(vocabulary, found, strict=True) if not known]
    logger.info(
        "%d of %d words have pretrained vectors; %d (%.1f%%) start random: %s",
        len(vocabulary) - len(missing),
        len(vocabulary),
        len(missing),
        100 * len(missing) / len(vocabulary),
        " ".join(missing[:10]) + (" ..." if len(missing) > 10 else ""),
    )


def training_tokens(model: HSLM, captions: Sequence[str]) -> TokenizedCaptions:
    """The token ids of the training captions; words are split at most once on a machine."""
    if model.config.pretrained_text:
        return model.tokenizer.tokenize_all(captions)
    return model.tokenizer.ids_of_split(cached_split(captions))


def optimizer_of(training: TrainingConfig, model: ModelConfig, steps: int) -> keras.Optimizer:
    """Makes the optimizer."""
    settings = {
        "learning_rate": schedule_of(training, steps),
        "weight_decay": training.weight_decay or None,
        "global_clipnorm": training.gradient_clip,
        "use_ema": training.ema > 0,
        "ema_momentum": training.ema,
    }
    if model.pretrained_text:
        return BackboneAdam(training.backbone_rate, training.frozen_epochs * steps, **settings)
    return keras.optimizers.Adam(**settings)


def adapt_optimizer(optimizer: keras.Optimizer, training: TrainingConfig, steps: int) -> None:
    """Makes the optimizer of a checkpoint that of a run that goes on."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner.learning_rate = schedule_of(training, steps)


def schedule_of(
    training: TrainingConfig, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Makes the schedule of the learning rate."""
    if training.schedule == "step":
        return keras.optimizers.schedules.ExponentialDecay(
            training.learning_rate,
            decay_steps=training.decay_epochs * steps,
            decay_rate=0.1,
            staircase=True,
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(training.epochs * steps - training.warmup_steps, 1),
        warmup_target=training.learning_rate,
        warmup_steps=training.warmup_steps,
    )


def loss_of(training: TrainingConfig, model: ModelConfig, steps: int) -> RetrievalLoss:
    """Makes the loss, or the losses one after another."""
    curriculum = None
    if training.random_epochs or training.growing_epochs:
        curriculum = NegativeCurriculum(
            random_steps=training.random_epochs * steps,
            growing_steps=training.growing_epochs * steps,
        )
    triplet = HardestNegativeTripletLoss(training.margin, curriculum, seed=training.seed)
    if not training.contrastive_epochs:
        return triplet
    on = training.contrastive_on
    if on == "parts" and not (model.local_alignment and model.global_alignment):
        on = "global" if model.global_alignment else "alignment"
    return LossCurriculum(
        ContrastiveLoss(
            training.contrastive_scale,
            on,
            alignment_steps=_ALIGNMENT_EPOCHS * steps,
        ),
        triplet,
        first_steps=training.contrastive_epochs * steps,
    )


def losses_by_epoch(config: RunConfig) -> dict[int, str]:
    """The epochs, counted from 1, that begin with another loss than the one before, by its name."""
    training = config.training
    both = config.model.local_alignment and config.model.global_alignment
    words = training.contrastive_on == "parts" and both
    aligned = min(training.contrastive_epochs, _ALIGNMENT_EPOCHS) if words else 0
    losses = ["contrastive"] * aligned
    later = "contrastive, words a tenth" if words else "contrastive"
    losses += [later] * (training.contrastive_epochs - aligned)
    losses += ["triplet, random negatives"] * training.random_epochs
    losses += ["triplet, hardest negatives"] * training.epochs
    pairs = itertools.pairwise(losses[: training.epochs])
    return {epoch: loss for epoch, (before, loss) in enumerate(pairs, 2) if loss != before}


def make_strategy(devices: Sequence[str]) -> tf.distribute.Strategy | None:
    """Makes the distribution strategy of a run."""
    if not devices:
        return None
    if list(devices) == ["all"]:
        return tf.distribute.MirroredStrategy()
    there = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices()]
    if len(set(devices)) < len(devices) or not set(devices) <= set(there):
        raise ValueError(
            f"--devices takes all, or some of {', '.join(there)}, each once. "
            f"Received: --devices {' '.join(devices)}"
        )
    return tf.distribute.MirroredStrategy(list(devices))
