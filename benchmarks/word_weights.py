"""Whether self-attention weakens function words, as the paper's Figure 3 claims.

    python -m benchmarks.word_weights runs/flickr8k --dataset data/flickr8k

A word's weight is its column of the words' similarity matrix, summed, as a share of the caption
(the paper's Sec. 4.4); before self-attention on the word vectors E, after it on E_f.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import rich
import tyro
from rich.table import Table

from hslm_tf.data.loading import load_dataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import dataset_path

FUNCTION_WORDS = (
    "a an the is are was be been being am in on of at to and with from by for as it its there "
    "that this his her their he she they while has have into up off over ."
).split()


@dataclass(frozen=True)
class Arguments:
    """Weight of function words before and after self-attention."""

    run: Annotated[Path, tyro.conf.Positional]
    """Directory of a run with self-attention."""

    split: str = "dev"
    """Split whose captions are taken."""

    dataset: str | None = None
    """Folder or HDF5 file; by default the one that the run was trained on."""


def word_shares(words: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shares of the words of each caption in its similarity matrix.

    Args:
        words: `[captions, tokens, width]`.
        mask: boolean `[captions, tokens]`.

    Returns:
        `[captions, tokens]`; the shares of a caption sum to 1.
    """
    words = words * mask[..., None]
    sums = np.abs(np.einsum("cmd,cnd->cm", words, words))
    return sums / sums.sum(axis=1, keepdims=True)


def function_word_ratio(model: HSLM, captions: list[str]) -> tuple[float, float]:
    """Mean share of a function word over that of any other word, before and after.

    Args:
        model: a model with self-attention.
        captions: captions as they are written.

    Returns:
        Both ratios; 1 would mean that function words weigh as much as others.
    """
    encoder = model.text_encoder
    layers = [encoder.get_layer("word_dropout"), encoder.get_layer("self_attention")]
    vectors = keras.Model(encoder.input, [layer.output for layer in layers])
    ids = model.tokenizer.tokenize_all(captions).padded(np.arange(len(captions)))
    function_ids = [model.vocabulary.index(w) for w in FUNCTION_WORDS if w in model.vocabulary]
    real = ids > 2  # neither padding nor <start> nor <end>
    is_function = np.isin(ids, function_ids) & real
    ratios = []
    for words in vectors.predict({"token_ids": ids}, batch_size=500, verbose=0):
        shares = word_shares(words, real)
        ratios.append(shares[is_function].mean() / shares[real & ~is_function].mean())
    return ratios[0], ratios[1]


def main() -> None:
    arguments = tyro.cli(Arguments)
    run = RunDirectory(arguments.run)
    model = keras.saving.load_model(run.best_model)
    captions = load_dataset(
        arguments.dataset or dataset_path(run.config()), arguments.split
    ).captions
    before, after = function_word_ratio(model, captions)
    table = Table("weight of a function word / of another word", "before", "after")
    table.add_row(f"{arguments.split}, {len(captions)} captions", f"{before:.2f}", f"{after:.2f}")
    rich.print(table)


if __name__ == "__main__":
    main()
