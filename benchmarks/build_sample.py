"""Cuts the packaged sample from Flickr8k in the precomputed format.

Usage:

    python -m benchmarks.build_sample FLICKR8K_FOLDER [--target FOLDER] [--glove FILE]

With `--glove`, a text file or .npz of GloVe vectors, those of the sample's vocabulary are cut, too.
"""

from pathlib import Path

import numpy as np
import tyro

from hslm_tf.text.tokenizer import build_vocabulary
from hslm_tf.text.word_vectors import read_word_vectors

SLICES = {"train": ("train", 0, 1000), "dev": ("dev", 0, 100), "test": ("dev", 100, 200)}
COLUMNS = 128
CAPTIONS_PER_IMAGE = 5
MIN_COUNT, GLOVE_WIDTH = 4, 100
TARGET = Path(__file__).resolve().parents[1] / "hslm_tf" / "data" / "sample"


def build_sample(source: Path, target: Path) -> None:
    """Writes region features, captions, ids and boxes of every slice.

    Args:
        source: folder with `{train,dev}_ims.npy`, `_caps.txt`, `_ids.txt` and `_boxes.npy`.
        target: folder to write to; its NOTICE is not written here.
    """
    target.mkdir(parents=True, exist_ok=True)
    for split, (origin, first, last) in SLICES.items():
        regions = np.load(source / f"{origin}_ims.npy", mmap_mode="r")[first:last, :, :COLUMNS]
        np.save(target / f"{split}_ims.npy", regions.astype(np.float16))
        boxes = np.load(source / f"{origin}_boxes.npy", mmap_mode="r")[first:last]
        np.save(target / f"{split}_boxes.npy", np.asarray(boxes))
        for part, per_image in (("caps", CAPTIONS_PER_IMAGE), ("ids", 1)):
            lines = (source / f"{origin}_{part}.txt").read_bytes().splitlines(keepends=True)
            kept = lines[first * per_image : last * per_image]
            (target / f"{split}_{part}.txt").write_bytes(b"".join(kept))


def cut_word_vectors(glove: Path, target: Path) -> None:
    """Writes the vectors of the sample's vocabulary.

    Args:
        glove: file of GloVe vectors with 100 dimensions.
        target: folder of the sample.
    """
    captions = (target / "train_caps.txt").read_text("utf-8").splitlines()
    vocabulary = build_vocabulary(captions, MIN_COUNT).words
    found = read_word_vectors(glove, vocabulary, GLOVE_WIDTH)
    rows = sorted(found)
    np.savez_compressed(
        target / "word_vectors.npz",
        words=np.array([vocabulary[row] for row in rows]),
        vectors=np.stack([found[row] for row in rows]).astype(np.float16),
    )


def main(
    source: tyro.conf.Positional[Path], target: Path = TARGET, glove: Path | None = None
) -> None:
    """Writes the sample.

    Args:
        source: folder with Flickr8k's training and development split.
        target: folder to write to.
        glove: file of GloVe vectors; without it none are cut.
    """
    build_sample(source, target)
    if glove is not None:
        cut_word_vectors(glove, target)


if __name__ == "__main__":
    tyro.cli(main)
