"""Vectors of images and captions for TensorBoard's page Projector."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.models.encoding import encoded_blocks
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.drawing import COLOURS
from hslm_tf.report.pictures import mosaic, photo_tile
from hslm_tf.retrieval.projection_heads import ProjectionHeads, heads_of
from hslm_tf.runs.run_directory import RunDirectory

_CAPTION_BLOCK_SIZE = 128
# Pixels of a side; any graphics card takes images of that size.
_SPRITE_SIDE, _LARGEST_TILE = 4096, 64
_CAPTION_FRAME = COLOURS[4]
_FOLDER = "projector"


def write_projector(
    run: RunDirectory,
    model: HSLM,
    dataset: RetrievalDataset,
    heads: ProjectionHeads | None = None,
    images: str | Path | None = None,
    limit: int = 500,
) -> Path:
    """Writes vectors of images and their captions, with what they are, into a run."""
    dataset = dataset.subset(0, min(limit, dataset.num_images))
    folder = run.tensorboard / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    vectors = _vectors(model, heads, dataset)
    np.savetxt(folder / "vectors.tsv", vectors, "%.4g", "\t")
    (folder / "metadata.tsv").write_text(metadata_of(dataset), "utf-8")

    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = f"{dataset.name}: images and captions"
    embedding.tensor_path = f"{_FOLDER}/vectors.tsv"
    embedding.metadata_path = f"{_FOLDER}/metadata.tsv"
    if images is not None:
        # TensorBoard expects a square sprite, and divides by its number of columns: the quotient is
        # exact for a power of two, and is rounded into a neighbouring row otherwise.
        columns = 2 ** math.ceil(math.log2(len(vectors)) / 2)
        side = min(_LARGEST_TILE, _SPRITE_SIDE // columns)
        sprite = tf.io.encode_jpeg(mosaic(_tiles(dataset, images, side), columns, columns))
        tf.io.write_file(str(folder / "sprite.jpg"), sprite)
        embedding.sprite.image_path = f"{_FOLDER}/sprite.jpg"
        embedding.sprite.single_image_dim.extend([side, side])
    projector.visualize_embeddings(str(run.tensorboard), config)
    return folder


def metadata_of(dataset: RetrievalDataset) -> str:
    """Says what every vector is: the images, then the captions."""
    ids = ids_or_numbers(dataset)
    _, first_captions = np.unique(dataset.caption_to_image, return_index=True)
    rows = [("text", "kind", "image")]
    rows += [
        (f"[image] {dataset.captions[caption]}", "image", image_id)
        for image_id, caption in zip(ids, first_captions, strict=True)
    ]
    rows += [
        (caption, "caption", ids[image])
        for caption, image in zip(dataset.captions, dataset.caption_to_image, strict=True)
    ]
    # A tab or a line break in a caption would be one of the table.
    return "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)


def _vectors(model: HSLM, heads: ProjectionHeads | None, dataset: RetrievalDataset) -> np.ndarray:
    """Vectors of the images, then of the captions, float32 `[num_images + num_captions, dim]`."""
    if heads is None and model.config.pools_regions:
        of_images, of_texts = _named("image_global"), _named("text_global")
    else:
        heads = heads_of(model, heads)
        of_images, of_texts = heads.image_vectors, heads.text_vectors
    vectors = [of_images(encoding) for _, encoding in encoded_blocks(model, dataset)]
    for rows in row_blocks(dataset.num_captions, _CAPTION_BLOCK_SIZE):
        captions = [dataset.captions[row] for row in rows]
        vectors.append(of_texts(model.encode_text(captions)))
    return np.concatenate(vectors)


def _named(key: str) -> Callable[[Mapping[str, tf.Tensor]], np.ndarray]:
    return lambda encoding: np.asarray(encoding[key], np.float32)


def _tiles(dataset: RetrievalDataset, images: str | Path, side: int) -> np.ndarray:
    """Photographs of the images, then those of the captions, in a frame."""
    ids = ids_or_numbers(dataset)
    plain = np.stack([photo_tile(images, image_id, side) for image_id in ids])
    framed = np.stack([photo_tile(images, image_id, side, _CAPTION_FRAME) for image_id in ids])
    return np.concatenate([plain, framed[dataset.caption_to_image]])
