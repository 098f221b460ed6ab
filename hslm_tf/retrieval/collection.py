"""A searchable collection of images and captions."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.model import HSLM
from hslm_tf.retrieval.collection_file import read_collection, write_collection
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings, StorageType
from hslm_tf.retrieval.indexes import Index
from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex
from hslm_tf.retrieval.reranking import Hit, rerank
from hslm_tf.retrieval.rows import Rows
from hslm_tf.retrieval.shortlist import Shortlist

Side = Literal["images", "captions"]
# Images of one block of the matcher.
_IMAGES_OF_A_BLOCK = 32


class Collection:
    """Images and captions, encoded once, that answer captions and images.

    A search has two stages. Inner products with one vector an item give a shortlist; the items of
    the shortlist get their exact score from the model. What is approximate is only which items
    enter the shortlist, and the storage type of the local features.

    Made by `build` or `load`.

    Attributes:
        model: the model.
        shortlist: the projection heads.
        ids: id of every image.
        vectors: shortlist vectors of the images, float32 `[n, dim]`.
        images: encodings of the images.
        captions: every caption.
        caption_to_image: int64 `[m]`, the row of each caption's image.
        caption_vectors: shortlist vectors of the captions, float32 `[m, dim]`.
        texts: encodings of the captions.
        boxes: `[n, N, 4]` x0, y0, x1, y1 of every region in pixels, or None.
        image_folder: where the image files lie, or None.
        run: directory of the run whose model this is, or None.
    """

    def __init__(
        self,
        *,
        model: HSLM,
        shortlist: Shortlist,
        ids: list[str],
        vectors: np.ndarray,
        images: ImageEncodings,
        captions: list[str],
        caption_to_image: np.ndarray,
        caption_vectors: np.ndarray,
        texts: CaptionEncodings,
        boxes: Rows | None = None,
        image_folder: str | None = None,
        run: str | None = None,
    ) -> None:
        self.model, self.shortlist = model, shortlist
        self.ids, self.vectors, self.images = ids, vectors, images
        self.captions, self.caption_to_image = captions, caption_to_image
        self.caption_vectors, self.texts = caption_vectors, texts
        self.boxes, self.image_folder, self.run = boxes, image_folder, run
        self._rows = {id_: row for row, id_ in enumerate(self.ids)}
        self.use_index(lambda side: BruteForceIndex())

    @classmethod
    def build(
        cls,
        model: HSLM,
        dataset: RetrievalDataset,
        shortlist: Shortlist,
        dtype: StorageType = "float16",
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "Collection":
        """Encodes a dataset.

        Args:
            model: the model.
            dataset: images and captions; without ids of its own, an image's number is its id.
            shortlist: the model's projection heads.
            dtype: type that local features are kept in. float16 takes half the space of float32
                and moves a score in the fourth decimal.
            image_folder: where the image files lie, for galleries.
            run: directory of the model's run, remembered by a saved collection.
            progress: called with the number of images and captions after every batch.

        Returns:
            The collection, in memory.

        Raises:
            DataError: if region features are not finite.
            ValueError: if a local feature does not fit the type.
        """
        images = ImageEncodings.encode(model, dataset, dtype=dtype, progress=progress)
        texts = CaptionEncodings.encode(model, dataset.captions, dtype, progress)
        boxes = dataset.read_boxes(np.arange(dataset.num_images))
        return cls(
            model=model,
            shortlist=shortlist,
            ids=_ids(dataset),
            vectors=images.vectors(shortlist),
            images=images,
            captions=list(dataset.captions),
            caption_to_image=np.asarray(dataset.caption_to_image, np.int64),
            caption_vectors=texts.vectors(shortlist),
            texts=texts,
            boxes=None if boxes is None else Rows([boxes]),
            image_folder=None if image_folder is None else os.path.abspath(image_folder),
            run=None if run is None else os.path.abspath(run),
        )

    @property
    def regions(self) -> Rows:
        """Local features of the images, `[n, N, d]`."""
        return self.images.regions

    @property
    def region_mask(self) -> np.ndarray:
        """True where an image has a real region, bool `[n, N]`."""
        return self.images.region_mask

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def use_index(self, make: Callable[[Side], Index]) -> None:
        """Chooses what makes the shortlists; brute force by default.

        Args:
            make: gives an empty index for the images, and another for the captions. They take in
                the vectors when they are first asked, and again after `add` and `remove`.
        """
        self._make_index = make
        self._indexes: dict[Side, Index] = {}

    def search(
        self, captions: Sequence[str], k: int = 10, shortlist: int | None = 100
    ) -> list[list[Hit]]:
        """Finds images that captions describe.

        Args:
            captions: q captions; of one longer than the model's `max_tokens`, the beginning counts.
            k: how many images to find for each.
            shortlist: images whose exact score is computed, at least k; None for all.

        Returns:
            For every caption its min(k, n) best images, best first. Of equal scores the image that
            was added first wins.

        Raises:
            ValueError: if there are no captions, one has no words, or a number is less than 1.
        """
        if isinstance(captions, str):
            raise ValueError(f"captions is a list of strings. Received: captions={captions!r}")
        texts = self.model.encode_text(captions)
        # Besides its words, every caption has a <start> and an <end>.
        empty = np.flatnonzero(np.sum(texts["word_mask"], axis=1) <= 2)
        if len(empty):
            raise ValueError(f"A caption has no words. Received: {captions[empty[0]]!r}")

        def score(query: int, rows: np.ndarray) -> tf.Tensor:
            text = {key: value[query : query + 1] for key, value in texts.items()}
            images = self.images.read(rows)
            return self.model.score_encoded(images, text, _IMAGES_OF_A_BLOCK)[:, 0]

        queries = self.shortlist.text_vectors(texts)
        return self._search("images", queries, score, self.ids, k, shortlist)

    def search_by_image(
        self,
        images: Sequence[str] | np.ndarray,
        k: int = 10,
        shortlist: int | None = 100,
        region_mask: np.ndarray | None = None,
    ) -> list[list[Hit]]:
        """Finds captions that describe images.

        Args:
            images: ids of q images of the collection, or region features of others,
                `[q, N, region_dim]`.
            k: how many captions to find for each.
            shortlist: captions whose exact score is computed, at least k; None for all.
            region_mask: bool `[q, N]`, True for real regions, with region features; None for all.

        Returns:
            For every image its min(k, m) best captions, best first.

        Raises:
            ValueError: if an image is unknown, region features have another width, or a number is
                less than 1.
        """
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            encoded = self.model.encode_image(images, region_mask)
            queries = self.shortlist.image_vectors(encoded)
        else:
            places = self._places(images)
            encoded, queries = self.images.read(places), self.vectors[places]

        def score(query: int, rows: np.ndarray) -> tf.Tensor:
            image = {key: value[query : query + 1] for key, value in encoded.items()}
            return self.model.score_encoded(image, self.texts.read(rows), 1)[0]

        return self._search("captions", queries, score, self.captions, k, shortlist)

    def add(self, dataset: RetrievalDataset) -> None:
        """Encodes further images with their captions and puts them at the end.

        Args:
            dataset: images with ids that are not in the collection, and as many regions.

        Raises:
            DataError: if region features are not finite.
            ValueError: if an id is in the collection already, or the shape is another.
        """
        if dataset.max_regions != self.regions.shape[1]:
            raise ValueError(
                f"The collection has {self.regions.shape[1]} regions an image. "
                f"Received: {dataset.source} with {dataset.max_regions}"
            )
        twice = [id_ for id_ in _ids(dataset) if id_ in self._rows]
        if twice:
            raise ValueError(f"The collection has this image already. Received: {twice[0]!r}")
        dtype = str(self.regions.dtype)
        other = Collection.build(self.model, dataset, self.shortlist, dtype)
        self.caption_to_image = np.concatenate(
            [self.caption_to_image, other.caption_to_image + len(self)]
        )
        self.ids = self.ids + other.ids
        self.captions = self.captions + other.captions
        self.vectors = np.concatenate([self.vectors, other.vectors])
        self.caption_vectors = np.concatenate([self.caption_vectors, other.caption_vectors])
        self.images = self.images.append(other.images)
        self.texts = self.texts.append(other.texts)
        both = self.boxes is not None and other.boxes is not None
        self.boxes = self.boxes.append(other.boxes) if both else None
        self._changed()

    def remove(self, ids: Sequence[str]) -> None:
        """Takes images and their captions out.

        Args:
            ids: ids of the images.

        Raises:
            ValueError: if an image is unknown, or none would be left.
        """
        gone = np.zeros(len(self), bool)
        gone[self._places(ids)] = True
        if gone.all():
            raise ValueError("A collection keeps at least one image. Received: the ids of all")
        rows = np.flatnonzero(~gone)
        kept = np.flatnonzero(~gone[self.caption_to_image])
        self.caption_to_image = (np.cumsum(~gone) - 1)[self.caption_to_image[kept]]
        self.ids = [self.ids[row] for row in rows]
        self.captions = [self.captions[row] for row in kept]
        self.vectors, self.caption_vectors = self.vectors[rows], self.caption_vectors[kept]
        self.images, self.texts = self.images.select(rows), self.texts.select(kept)
        self.boxes = None if self.boxes is None else self.boxes.select(rows)
        self._changed()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the collection to an HDF5 file, in one piece.

        Args:
            path: the file; one that is there is replaced once the new one is complete.

        Raises:
            OSError: if the file cannot be written.
        """
        write_collection(self, Path(path))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: HSLM | None = None, verify: bool = False
    ) -> "Collection":
        """Opens a file; local features stay on disk until they are needed.

        Args:
            path: the file.
            model: the model that the collection was built with; by default that of its run.
            verify: compares the checksums of local features too, which reads the whole file.

        Returns:
            The collection.

        Raises:
            DataError: if the file is missing, truncated or damaged, or no model is found.
            ValueError: if the model is another.
        """
        return cls(**read_collection(Path(path), model, verify))

    def _places(self, ids: Sequence[str]) -> np.ndarray:
        if isinstance(ids, str):
            raise ValueError(f"Images are a list of ids. Received: {ids!r}")
        unknown = [id_ for id_ in ids if id_ not in self._rows]
        if unknown:
            raise ValueError(f"The collection has no such image. Received: {unknown[0]!r}")
        return np.array([self._rows[id_] for id_ in ids], np.int64)

    def _changed(self) -> None:
        self._rows = {id_: row for row, id_ in enumerate(self.ids)}
        self._indexes = {}

    def _search(
        self,
        side: Side,
        queries: np.ndarray,
        score: Callable[[int, np.ndarray], tf.Tensor],
        items: list[str],
        k: int,
        shortlist: int | None,
    ) -> list[list[Hit]]:
        if k < 1 or (shortlist is not None and shortlist < 1):
            raise ValueError(f"At least 1 is needed. Received: k={k}, shortlist={shortlist}")
        if not items:
            return [[] for _ in queries]
        if shortlist is None:
            candidates = [np.arange(len(items))] * len(queries)
        else:
            candidates = self._index(side).search(queries, max(k, shortlist))[1]
        return [rerank(rows, partial(score, i), items, k) for i, rows in enumerate(candidates)]

    def _index(self, side: Side) -> Index:
        if side not in self._indexes:
            vectors = self.vectors if side == "images" else self.caption_vectors
            self._indexes[side] = self._make_index(side).index(vectors)
        return self._indexes[side]


def _ids(dataset: RetrievalDataset) -> list[str]:
    return dataset.image_ids or [str(image) for image in range(dataset.num_images)]
