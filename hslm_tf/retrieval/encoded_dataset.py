"""The content of a collection: images and captions, encoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.images.extraction_config import check_same
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.hubness import HubCorrection
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings, StorageType
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.rows import Rows, append_rows, select_rows

# Parts with one row for every image, and with one for every caption.
_OF_IMAGES = ("ids", "images", "vectors", "boxes", "image_hubness")
_OF_CAPTIONS = ("captions", "caption_to_image", "texts", "caption_vectors", "caption_hubness")


@dataclass(frozen=True)
class EncodedDataset:
    """Images and captions with everything that a search needs of them; never changed in place."""

    ids: list[str]
    images: ImageEncodings
    vectors: np.ndarray
    captions: list[str]
    caption_to_image: np.ndarray
    texts: CaptionEncodings
    caption_vectors: np.ndarray
    boxes: Rows | None = None
    extraction: Mapping[str, Any] | None = None
    # Float32 `[n]` and `[m]`, which a search takes off the scores.
    image_hubness: np.ndarray | None = None
    caption_hubness: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"EncodedDataset({len(self.ids)} images, {len(self.captions)} captions)"

    def __post_init__(self) -> None:
        images, captions = len(self.images), len(self.texts)
        for names, count in ((_OF_IMAGES, images), (_OF_CAPTIONS, captions)):
            for name in names:
                part = getattr(self, name)
                if part is not None and len(part) != count:
                    raise ValueError(
                        f"{images} images and {captions} captions are encoded: `{name}` must be "
                        f"{count}. Received: len({name})={len(part)}"
                    )
        if len(self._rows) != images:
            twice = next(id_ for row, id_ in enumerate(self.ids) if self._rows[id_] != row)
            raise ValueError(f"Ids must differ. Received: {twice!r} twice")
        rows = self.caption_to_image
        if captions and not 0 <= rows.min() <= rows.max() < images:
            raise ValueError(
                f"`caption_to_image` must be rows of the {images} images. "
                f"Received: values from {rows.min()} to {rows.max()}"
            )

    @classmethod
    def encode(
        cls,
        model: HSLM,
        heads: ProjectionHeads,
        dataset: RetrievalDataset,
        dtype: StorageType = "float16",
        progress: Callable[[int], None] | None = None,
        memmap_dir: Path | None = None,
        hubs: HubCorrection | None = None,
    ) -> "EncodedDataset":
        """Encodes a dataset."""
        images = ImageEncodings.encode(model, dataset, None, dtype, progress, memmap_dir)
        texts = CaptionEncodings.encode(model, dataset.captions, dtype, progress, memmap_dir)
        boxes = dataset.read_boxes(np.arange(dataset.num_images))
        hubness = (None, None) if hubs is None else hubs.of_dataset(dataset)
        return cls(
            ids=list(ids_or_numbers(dataset)),
            images=images,
            vectors=images.vectors(heads),
            captions=list(dataset.captions),
            caption_to_image=np.asarray(dataset.caption_to_image, np.int64),
            texts=texts,
            caption_vectors=texts.vectors(heads),
            boxes=None if boxes is None else Rows([boxes]),
            extraction=dataset.extraction,
            image_hubness=hubness[0],
            caption_hubness=hubness[1],
        )

    def check_like(self, dataset: RetrievalDataset) -> None:
        """Checks that a dataset can be encoded and put behind these images."""
        regions = self.images.regions.shape[1]
        if dataset.max_regions != regions:
            raise ValueError(
                f"The collection has {regions} regions an image. "
                f"Received: {dataset.source} with {dataset.max_regions}"
            )
        check_same(self.extraction, dataset.extraction, "the collection", dataset.source)
        if twice := [id_ for id_ in ids_or_numbers(dataset) if id_ in self._rows]:
            raise ValueError(f"The collection has this image already. Received: {twice[0]!r}")

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Finds images by their ids."""
        if isinstance(ids, str):
            raise ValueError(f"Images are a list of ids. Received: {ids!r}")
        if unknown := [id_ for id_ in ids if id_ not in self._rows]:
            raise ValueError(f"The collection has no such image. Received: {unknown[0]!r}")
        return np.array([self._rows[id_] for id_ in ids], np.int64)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {id_: row for row, id_ in enumerate(self.ids)}

    def append(self, other: "EncodedDataset") -> "EncodedDataset":
        """Puts other images with their captions behind these; local features are not copied."""
        parts = {
            name: append_rows(getattr(self, name), getattr(other, name))
            for name in (*_OF_IMAGES, *_OF_CAPTIONS)
        }
        parts["caption_to_image"][len(self.captions) :] += len(self.ids)
        return EncodedDataset(**parts, extraction=self.extraction or other.extraction)

    def without(self, rows: np.ndarray) -> "EncodedDataset":
        """Takes images and their captions out; local features are not copied."""
        kept = np.ones(len(self.ids), bool)
        kept[rows] = False
        if not kept.any():
            raise ValueError("A collection keeps at least one image. Received: the ids of all")
        images, captions = np.flatnonzero(kept), np.flatnonzero(kept[self.caption_to_image])
        parts = {
            name: select_rows(getattr(self, name), rows)
            for names, rows in ((_OF_IMAGES, images), (_OF_CAPTIONS, captions))
            for name in names
        }
        parts["caption_to_image"] = (np.cumsum(kept) - 1)[parts["caption_to_image"]]
        return EncodedDataset(**parts, extraction=self.extraction)
