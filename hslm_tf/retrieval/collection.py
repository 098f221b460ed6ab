"""A searchable collection of images and captions."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.hubness import HubCorrection
from hslm_tf.retrieval.collection_file import read_collection, write_collection
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings, StorageType
from hslm_tf.retrieval.indexes import Index, open_index
from hslm_tf.retrieval.projection_heads import ProjectionHeads, heads_of
from hslm_tf.retrieval.reranking import Hit, caption_queries, image_queries, retrieve_and_rerank
from hslm_tf.retrieval.rows import Rows

Side = Literal["images", "captions"]


class Collection:
    """Images and captions, encoded once, that can be searched, changed and saved.

    `build`, `from_encodings` and `load` make one. A search has two stages. Inner products with one
    vector an item give candidates; the candidates get their exact score from the model. Only the
    choice of the candidates is approximate, and local features are rounded to their storage type.

    Args:
        model: the model.
        heads: its projection heads.
        encoded: images and captions, encoded by the model.
        image_folder: where the image files lie, for galleries, or None.
        run: directory of the run whose model this is, or None.
        hubs: what measured the hubs among the items. A collection whose hubs are corrected needs it
            again for `add`; it is not saved.

    Example:
        >>> collection = hslm_tf.Collection.build(model, dataset)
        >>> collection.save("photos.h5")
        >>> collection = hslm_tf.Collection.load("photos.h5", model)
        >>> collection.remove(collection.ids[:1])
        >>> print(len(collection))
    """

    def __init__(
        self,
        model: HSLM,
        heads: ProjectionHeads,
        encoded: EncodedDataset,
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
        hubs: HubCorrection | None = None,
    ) -> None:
        self.model, self.heads, self.encoded, self.hubs = model, heads, encoded, hubs
        self.image_folder = None if image_folder is None else os.path.abspath(image_folder)
        self.run = None if run is None else os.path.abspath(run)
        self.use_index(lambda side: open_index("brute-force"))

    @property
    def ids(self) -> list[str]:
        """Id of every image."""
        return self.encoded.ids

    @property
    def captions(self) -> list[str]:
        """Every caption."""
        return self.encoded.captions

    def __repr__(self) -> str:
        return f"Collection({len(self)} images, {len(self.captions)} captions)"

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    @classmethod
    def build(
        cls,
        model: HSLM,
        dataset: RetrievalDataset,
        heads: ProjectionHeads | None = None,
        dtype: StorageType = "float16",
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
        progress: Callable[[int], None] | None = None,
        memmap_dir: Path | None = None,
        hubs: HubCorrection | None = None,
    ) -> "Collection":
        """Encodes a dataset.

        Args:
            model: the model.
            dataset: images and captions; where it has no ids, an image's number is its id.
            heads: the model's projection heads; None for plain means of the local features.
            dtype: type that local features are kept in. float16 takes half the space of float32
                and moves a score in the fourth decimal.
            image_folder: where the image files lie, for galleries.
            run: directory of the model's run, remembered by a saved collection.
            progress: called after every batch with its number of images or captions.
            memmap_dir: folder for temporary files that hold the local features; None for memory.
            hubs: corrects the scores of items that are near to everything; None leaves them.

        Returns:
            The collection.

        Raises:
            DataError: if region features are not finite.
            ValueError: if a local feature does not fit the type, or the heads are another model's.

        Example:
            >>> collection = hslm_tf.Collection.build(model, dataset)
            >>> print(len(collection))
        """
        heads = heads_of(model, heads)
        encoded = EncodedDataset.encode(model, heads, dataset, dtype, progress, memmap_dir, hubs)
        return cls(model, heads, encoded, image_folder, run, hubs)

    @classmethod
    def from_encodings(
        cls,
        model: HSLM,
        images: ImageEncodings,
        texts: CaptionEncodings | None = None,
        *,
        ids: Sequence[str] | None = None,
        captions: Sequence[str] = (),
        caption_to_image: Sequence[int] | np.ndarray = (),
        boxes: np.ndarray | None = None,
        heads: ProjectionHeads | None = None,
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
    ) -> "Collection":
        """Makes a collection of images that the model encoded already.

        Args:
            model: the model.
            images: n images, such as `ImageEncodings.from_encoding(model.encode_image(regions))`.
            texts: the captions, such as `CaptionEncodings.from_encoding(model.encode_text(...))`;
                None encodes them.
            ids: id of every image; by default its number.
            captions: m captions as they are written; there may be none.
            caption_to_image: int `[m]`, the row of each caption's image.
            boxes: `[n, N, 4]` x0, y0, x1, y1 of every region, for galleries.
            heads: as for `build`.
            image_folder: as for `build`.
            run: as for `build`.

        Returns:
            The collection, in memory.

        Raises:
            ValueError: if the parts do not fit together, or the heads are another model's.
        """
        heads = heads_of(model, heads)
        if texts is None:
            texts = CaptionEncodings.encode(model, captions, str(images.regions.dtype))
        encoded = EncodedDataset(
            ids=[str(row) for row in range(len(images))] if ids is None else list(ids),
            images=images,
            vectors=images.vectors(heads),
            captions=list(captions),
            caption_to_image=np.asarray(caption_to_image, np.int64),
            texts=texts,
            caption_vectors=texts.vectors(heads),
            boxes=None if boxes is None else Rows([boxes]),
        )
        return cls(model, heads, encoded, image_folder, run)

    def use_index(self, make: Callable[[Side], Index]) -> None:
        """Chooses what finds the candidates; brute force by default.

        Args:
            make: called with `"images"` or `"captions"`, returns an empty index for them. It is
                filled at the first search, and a new one after `add` and `remove`.
        """
        self._make_index = make
        self._indexes: dict[Side, Index] = {}

    def search(
        self, captions: Sequence[str], k: int = 10, num_candidates: int | None = 100
    ) -> list[list[Hit]]:
        """Finds images that captions describe.

        Args:
            captions: q captions; of one longer than the model's `max_tokens`, the beginning counts.
            k: how many images to find for each.
            num_candidates: images whose exact score is computed, at least k; None for all.

        Returns:
            For every caption its min(k, n) best images, best first. If scores are equal, the image
            that was added first wins.

        Raises:
            ValueError: if there are no captions, one has no words, or a number is less than 1.

        Example:
            >>> collection = hslm_tf.Collection.build(model, dataset)
            >>> for hit in collection.search(["a dog runs"], k=2)[0]:
            ...     print(hit.item, hit.score)
        """
        queries = caption_queries(self.model, self.heads, self.encoded, captions)
        index = partial(self._index, "images")
        return retrieve_and_rerank(queries, index, self.ids, k, num_candidates)

    def search_by_image(
        self,
        images: Sequence[str] | np.ndarray,
        k: int = 10,
        num_candidates: int | None = 100,
        region_mask: np.ndarray | None = None,
    ) -> list[list[Hit]]:
        """Finds captions that describe images.

        Args:
            images: ids of q images of the collection, or region features of others,
                `[q, N, region_dim]`.
            k: how many captions to find for each.
            num_candidates: captions whose exact score is computed, at least k; None for all.
            region_mask: bool `[q, N]`, True for real regions, with region features; None for all.

        Returns:
            For every image its min(k, m) best captions, best first.

        Raises:
            ValueError: if an image is unknown or has no region, region features have another width
                or are not finite, or a number is less than 1.

        Example:
            >>> collection = hslm_tf.Collection.build(model, dataset)
            >>> for hit in collection.search_by_image(region_features, k=2)[0]:
            ...     print(hit.item, hit.score)
        """
        queries = image_queries(self.model, self.heads, self.encoded, images, region_mask)
        index = partial(self._index, "captions")
        return retrieve_and_rerank(queries, index, self.captions, k, num_candidates)

    def add(self, dataset: RetrievalDataset, ids: Sequence[str] | None = None) -> None:
        """Encodes further images with their captions and puts them at the end.

        Args:
            dataset: images with new ids, and with as many regions as those of the collection.
            ids: ids in place of the dataset's ids, which are numbers where it has none.

        Raises:
            DataError: if region features are not finite.
            ValueError: if an id is in the collection already, the shape is another, the features
                come from another network, or scores are corrected and there is no `hubs`.
        """
        if ids is not None:
            dataset = dataclasses.replace(dataset, image_ids=list(ids))
        # Checked before anything is encoded, which may take long.
        self.encoded.check_like(dataset)
        if self.encoded.image_hubness is not None and self.hubs is None:
            raise ValueError(
                "The collection corrects the scores of hubs: set `hubs` to what measured them. "
                "Received: hubs=None"
            )
        dtype = str(self.encoded.images.regions.dtype)
        more = EncodedDataset.encode(self.model, self.heads, dataset, dtype, hubs=self.hubs)
        self._change(self.encoded.append(more))

    def remove(self, ids: Sequence[str]) -> None:
        """Takes images and their captions out.

        Args:
            ids: ids of the images.

        Raises:
            ValueError: if an image is unknown, or none would be left.
        """
        self._change(self.encoded.without(self.encoded.rows_of(ids)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the collection to an HDF5 file, in one piece.

        Args:
            path: the file; one that is there is replaced once the new one is complete.

        Raises:
            OSError: if the file cannot be written.
        """
        write_collection(
            Path(path), self.model, self.heads, self.encoded, self.image_folder, self.run
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: HSLM, verify: bool = False) -> "Collection":
        """Opens a file; local features stay on disk until they are needed.

        Args:
            path: the file.
            model: the model that the collection was built with.
            verify: compares the checksums of local features too, which reads the whole file.

        Returns:
            The collection.

        Raises:
            DataError: if the file is missing, truncated or damaged.
            ValueError: if the model is another.
        """
        return cls(**read_collection(Path(path), model, verify))

    def _change(self, encoded: EncodedDataset) -> None:
        self.encoded, self._indexes = encoded, {}

    def _index(self, side: Side) -> Index:
        if side not in self._indexes:
            encoded = self.encoded
            vectors = encoded.vectors if side == "images" else encoded.caption_vectors
            self._indexes[side] = self._make_index(side).index(vectors)
        return self._indexes[side]
