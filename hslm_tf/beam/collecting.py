"""From finished shards to one collection and one list of what was rejected."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.beam.files import ShardArray, read_shard, write_file
from hslm_tf.beam.work_folder import Plan, WorkFolder
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.rows import Rows

_IN_MEMORY = ("rows", "ids", "vectors", "region_mask")


def collect(
    folder: WorkFolder,
    plan: Plan,
    model: HSLM,
    heads: ProjectionHeads,
    dataset: RetrievalDataset | None = None,
    memmap_dir: Path | None = None,
) -> EncodedDataset:
    """Puts all shards together; local features stay in their files until they are needed."""
    paths = [folder.file_of(shard) for shard in plan.shards]
    shards = [read_shard(path, _IN_MEMORY) for path in paths]
    rows, ids, vectors, mask = (
        np.concatenate([shard[name] for shard in shards]) for name in _IN_MEMORY
    )
    if not len(ids):
        raise DataError(f"{folder.path}: none of {plan.images} images could be encoded")
    counts = [len(shard["ids"]) for shard in shards]

    def array(name: str, *shape: int, dtype: str = plan.dtype) -> Rows:
        parts = zip(paths, counts, strict=True)
        return Rows([ShardArray(path, name, (n, *shape), dtype) for path, n in parts])

    width = model.config.joint_dim
    image_global = array("image_global", width) if model.config.pools_regions else None
    with_boxes = "boxes" in read_shard(paths[0], [], ["boxes"])
    captions, caption_to_image = _captions(dataset, rows)
    texts = CaptionEncodings.encode(model, captions, plan.dtype, memmap_dir=memmap_dir)
    return EncodedDataset(
        ids=ids.tolist(),
        images=ImageEncodings(array("regions", plan.regions, width), mask, image_global),
        vectors=vectors,
        captions=captions,
        caption_to_image=caption_to_image,
        texts=texts,
        caption_vectors=texts.vectors(heads),
        boxes=array("boxes", plan.regions, 4, dtype="float32") if with_boxes else None,
        extraction=plan.source.get("features") if dataset is None else dataset.extraction,
    )


def write_rejected(folder: WorkFolder, plan: Plan) -> int:
    """Writes the rejected images of all shards to one file, a JSON object a line."""
    lines = []
    for path in map(folder.file_of, plan.shards):
        columns = read_shard(path, ["rejected_rows", "rejected_ids", "rejected_reasons"])
        for row, id_, reason in zip(*columns.values(), strict=True):
            image = {"row": int(row), "id": str(id_), "reason": str(reason)}
            lines.append(json.dumps(image, ensure_ascii=False) + "\n")
    write_file(folder.rejected, "".join(lines).encode())
    return len(lines)


def _captions(
    dataset: RetrievalDataset | None, rows: np.ndarray
) -> tuple[Sequence[str], np.ndarray]:
    """Captions of the images that are kept, and the places of their images among these."""
    if dataset is None:
        return [], np.zeros(0, np.int64)
    place = np.full(dataset.num_images, -1, np.int64)
    place[rows] = np.arange(len(rows))
    images = place[dataset.caption_to_image]
    return [dataset.captions[i] for i in np.flatnonzero(images >= 0)], images[images >= 0]
