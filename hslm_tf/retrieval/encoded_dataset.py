"""What a collection holds: images and captions, encoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.images.extraction_config import check_same
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.hubness import HubCorrection
from hslm_tf.retrieval.caption_encodings import CaptionEncodings
from hslm_tf.retrieval.image_encodings import ImageEncodings
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.rows import Rows
from hslm_tf.retrieval.storage import StorageType


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
    image_hubness: np.ndarray | None = None
    caption_hubness: np.ndarray | None = None

    def __post_init__(self) -> None:
        images, captions = len(self.images), len(self.texts)
        counts = {"ids": len(self.ids), "vectors": len(self.vectors)}
        of_captions = "captions", "caption_to_image", "caption_vectors"
        counts_of_captions = {name: len(getattr(self, name)) for name in of_captions}
        for name, of_side in (
            ("boxes", counts),
            ("image_hubness", counts),
            ("caption_hubness", counts_of_captions),
        ):
            part = getattr(self, name)
            of_side |= {} if part is None else {name: len(part)}
        for expected, found in ((images, counts), (captions, counts_of_captions)):
            for name, count in found.items():
                if count != expected:
                    raise ValueError(
                        f"{images} images and {captions} captions are encoded: `{name}` must be "
                        f"{expected}. Received: len({name})={count}"
                    )
        if len(set(self.ids)) != images:
            seen: set[str] = set()
            twice = next(id_ for id_ in self.ids if id_ in seen or seen.add(id_))
            raise ValueError(f"Ids must differ. Received: {twice!r} twice")
        owners = self.caption_to_image
        if captions and not 0 <= owners.min() <= owners.max() < images:
            raise ValueError(
                f"`caption_to_image` must be rows of the {images} images. "
                f"Received: values from {owners.min()} to {owners.max()}"
            )

    @classmethod
    def from_encodings(
        cls,
        heads: ProjectionHeads,
        images: ImageEncodings,
        texts: CaptionEncodings,
        *,
        ids: Sequence[str],
        captions: Sequence[str],
        caption_to_image: Sequence[int] | np.ndarray,
        boxes: np.ndarray | None = None,
    ) -> "EncodedDataset":
        """Adds the projected vectors to what is encoded."""
        return cls(
            ids=list(ids),
            images=images,
            vectors=images.vectors(heads),
            captions=list(captions),
            caption_to_image=np.asarray(caption_to_image, np.int64),
            texts=texts,
            caption_vectors=texts.vectors(heads),
            boxes=None if boxes is None else Rows([boxes]),
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
        encoded = cls.from_encodings(
            heads,
            ImageEncodings.encode(
                model, dataset, dtype=dtype, progress=progress, memmap_dir=memmap_dir
            ),
            CaptionEncodings.encode(model, dataset.captions, dtype, progress, memmap_dir),
            ids=ids_or_numbers(dataset),
            captions=dataset.captions,
            caption_to_image=dataset.caption_to_image,
            boxes=dataset.read_boxes(np.arange(dataset.num_images)),
        )
        of_images, of_captions = (None, None) if hubs is None else hubs.of_dataset(dataset)
        return replace(
            encoded,
            extraction=dataset.extraction,
            image_hubness=of_images,
            caption_hubness=of_captions,
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
        both = self.boxes is not None and other.boxes is not None
        return EncodedDataset(
            ids=self.ids + other.ids,
            images=self.images.append(other.images),
            vectors=np.concatenate([self.vectors, other.vectors]),
            captions=self.captions + other.captions,
            caption_to_image=np.concatenate(
                [self.caption_to_image, other.caption_to_image + len(self.ids)]
            ),
            texts=self.texts.append(other.texts),
            caption_vectors=np.concatenate([self.caption_vectors, other.caption_vectors]),
            boxes=self.boxes.append(other.boxes) if both else None,
            extraction=self.extraction or other.extraction,
            image_hubness=_joined(self.image_hubness, other.image_hubness),
            caption_hubness=_joined(self.caption_hubness, other.caption_hubness),
        )

    def without(self, rows: np.ndarray) -> "EncodedDataset":
        """Takes images and their captions out; local features are not copied."""
        gone = np.zeros(len(self.ids), bool)
        gone[rows] = True
        if gone.all():
            raise ValueError("A collection keeps at least one image. Received: the ids of all")
        kept = np.flatnonzero(~gone)
        captions = np.flatnonzero(~gone[self.caption_to_image])
        return EncodedDataset(
            ids=[self.ids[row] for row in kept],
            images=self.images.select(kept),
            vectors=self.vectors[kept],
            captions=[self.captions[row] for row in captions],
            caption_to_image=(np.cumsum(~gone) - 1)[self.caption_to_image[captions]],
            texts=self.texts.select(captions),
            caption_vectors=self.caption_vectors[captions],
            boxes=None if self.boxes is None else self.boxes.select(kept),
            extraction=self.extraction,
            image_hubness=None if self.image_hubness is None else self.image_hubness[kept],
            caption_hubness=None
            if self.caption_hubness is None
            else self.caption_hubness[captions],
        )


def _joined(some: np.ndarray | None, more: np.ndarray | None) -> np.ndarray | None:
    return None if some is None or more is None else np.concatenate([some, more])
