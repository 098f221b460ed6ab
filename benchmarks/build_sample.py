"""Cuts the packaged sample from Flickr8k in the precomputed format.

Usage: python benchmarks/build_sample.py FLICKR8K_FOLDER [TARGET_FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

SLICES = {"train": ("train", 0, 1000), "dev": ("dev", 0, 100), "test": ("dev", 100, 200)}
COLUMNS = 128
CAPTIONS_PER_IMAGE = 5
TARGET = Path(__file__).resolve().parents[1] / "hslm_tf" / "data" / "sample"


def build_sample(source: Path, target: Path) -> None:
    """Writes region features, captions, ids and boxes of every slice.

    Args:
        source: Folder with `{train,dev}_ims.npy`, `_caps.txt`, `_ids.txt` and `_boxes.npy`.
        target: Folder to write to; its NOTICE is kept by hand.
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


if __name__ == "__main__":
    build_sample(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET)
