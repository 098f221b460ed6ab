"""How well features of `python -m hslm_tf.extract` retrieve, by where their regions come from.

Needs the extras `images` and `benchmarks`, photographs, and their captions in a split of the
precomputed format with ids; where that has boxes and their scores, detections are measured too.

    python -m benchmarks.extracted_features PHOTOGRAPHS DATA --split dev --backbone lite2.keras

Linear CCA (`benchmarks.cca_baseline`) is fitted on four fifths of the photographs and measured on
the rest, five times. The 6 x 6 grid is how many read one feature a cell out of a network's map.
"""

import contextlib
import dataclasses
import io
import json
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from benchmarks.cca_baseline import Settings, baseline
from benchmarks.rows import print_rows
from hslm_tf.command_line import one_line_errors
from hslm_tf.data import RetrievalDataset, load_dataset
from hslm_tf.extract import main as extract

_FOLDS = 5


def chosen(dataset: RetrievalDataset, images: np.ndarray) -> RetrievalDataset:
    """Some images of a dataset.

    Args:
        dataset: the dataset.
        images: int `[k]`, which ones, in ascending order.

    Returns:
        The smaller dataset.
    """
    place = np.full(dataset.num_images, -1)
    place[images] = np.arange(len(images))
    kept = np.flatnonzero(place[dataset.caption_to_image] >= 0)
    return dataclasses.replace(
        dataset,
        captions=[dataset.captions[caption] for caption in kept],
        caption_to_image=place[dataset.caption_to_image[kept]].astype(np.int32),
        image_rows=dataset.image_rows[images],
        image_ids=[dataset.image_ids[image] for image in images],
        num_regions=dataset.num_regions[images],
    )


def recalls(dataset: RetrievalDataset, seed: int) -> dict[str, float]:
    """Rsum of the weighted cosine over five folds.

    Args:
        dataset: the dataset.
        seed: of the folds.

    Returns:
        Mean and deviation.
    """
    order = np.random.default_rng(seed).permutation(dataset.num_images)
    sums = []
    for fold in range(_FOLDS):
        held = np.sort(order[fold::_FOLDS])
        rest = np.setdiff1d(order, held)
        reports = baseline(chosen(dataset, rest), chosen(dataset, held), Settings())
        sums.append(reports["weighted"].rsum)
    return {"rsum": float(np.mean(sums)), "deviation": float(np.std(sums))}


def box_files(data: RetrievalDataset, scores: Path, folder: Path) -> dict[str, str]:
    """Boxes for `--boxes`: a 6 x 6 grid, and detections where the data have some.

    Args:
        data: the split with its boxes.
        scores: `[images, regions]`, the detector's scores; a box without one is no detection.
        folder: where the files go.

    Returns:
        Paths by what they hold.
    """
    cells = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2) / 6
    grid = np.concatenate([cells, cells + 1 / 6], 1).clip(0, 1).tolist()
    files = {"6 x 6 grid": {image_id: grid for image_id in data.image_ids}}
    if scores.exists():
        confident = np.load(scores)
        boxes = data.read_boxes(np.arange(data.num_images)).astype(np.float64)
        detected = {}
        for image, image_id in enumerate(data.image_ids):
            rows = np.concatenate([boxes[image], confident[image, :, None]], 1)
            x0, y0, x1, y1, score = rows.T
            detected[image_id] = rows[(score > 0) & (x1 > x0) & (y1 > y0)].tolist()
        files["detections"] = detected
    for name, boxes_of in files.items():
        (folder / f"{name}.json").write_text(json.dumps(boxes_of))
    return {name: str(folder / f"{name}.json") for name in files}


def main(
    photographs: Annotated[Path, tyro.conf.Positional],
    data: Annotated[Path, tyro.conf.Positional],
    split: str = "dev",
    backbone: str = "EfficientNetV2B0",
    size: int = 320,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Prints a row for every source of regions.

    Args:
        photographs: folder of the photographs, whose names are the ids.
        data: folder with the captions, and perhaps boxes and `SPLIT_box_score.npy`.
        split: the split of the data.
        backbone: as for `python -m hslm_tf.extract`.
        size: as for `python -m hslm_tf.extract`.
        seed: of the folds.
        out: file to append the rows to, as JSON lines.
    """
    with one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        captions = load_dataset(data, split)
        lines = (
            f"{captions.image_ids[image]}#{row}\t{caption}\n"
            for row, (image, caption) in enumerate(
                zip(captions.caption_to_image, captions.captions, strict=True)
            )
        )
        (folder / "captions.token").write_text("".join(lines), "utf-8")
        files = box_files(captions, data / f"{split}_box_score.npy", folder)
        sources = {"grid of extract": ["--boxes", "grid"]}
        sources["6 x 6 grid"] = ["--boxes", files["6 x 6 grid"], "--no-fill"]
        if "detections" in files:
            sources["detections"] = ["--boxes", files["detections"], "--no-fill"]
            sources["detections, then the grid"] = ["--boxes", files["detections"]]
        rows = []
        for name, flags in sources.items():
            target = folder / name
            arguments = [str(folder / "captions.token"), "--out", str(target)]
            arguments += ["--images", str(photographs), "--backbone", backbone]
            with contextlib.redirect_stdout(io.StringIO()):
                extract([*arguments, "--size", str(size), *flags])
            dataset = load_dataset(target, "all")
            regions = float(dataset.num_regions.mean())
            rows.append({"regions": name, "regions an image": regions, **recalls(dataset, seed)})
        print_rows(rows, out)


if __name__ == "__main__":
    tyro.cli(main)
