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
from hslm_tf.retrieval.caption_encodings import CaptionEncodings
from hslm_tf.retrieval.collection_file import read_collection, write_collection
from hslm_tf.retrieval.contents import Contents, image_ids
from hslm_tf.retrieval.image_encodings import ImageEncodings
from hslm_tf.retrieval.indexes import Index
from hslm_tf.retrieval.indexes.brute_force import BruteForceIndex
from hslm_tf.retrieval.shortlist import Shortlist, new_shortlist
from hslm_tf.retrieval.storage import StorageType
from hslm_tf.retrieval.two_stages import Hit, search_in_two_stages

Side = Literal["images", "captions"]
# Images of one block of the matcher.
_IMAGES_OF_A_BLOCK = 50


class Collection:
    """Images and captions, encoded once, that answer captions and images.

    A search has two stages. Inner products with one vector an item give a shortlist; the items of
    the shortlist get their exact score from the model. What is approximate is only which items
    enter the shortlist, and the storage type of the local features.

    Made by `build`, `from_encodings` or `load`.

    Args:
        model: the model.
        shortlist: its projection heads.
        contents: images and captions, encoded by the model.
        image_folder: where the image files lie, for galleries, or None.
        run: directory of the run whose model this is, or None.
    """

    def __init__(
        self,
        model: HSLM,
        shortlist: Shortlist,
        contents: Contents,
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
    ) -> None:
        self.model, self.shortlist, self.contents = model, shortlist, contents
        self.image_folder = None if image_folder is None else os.path.abspath(image_folder)
        self.run = None if run is None else os.path.abspath(run)
        self.use_index(lambda side: BruteForceIndex())

    @classmethod
    def build(
        cls,
        model: HSLM,
        dataset: RetrievalDataset,
        shortlist: Shortlist | None = None,
        dtype: StorageType = "float16",
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "Collection":
        """Encodes a dataset.

        Args:
            model: the model.
            dataset: images and captions; without ids of its own, an image's number is its id.
            shortlist: the model's projection heads; None for plain means of the local features.
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
        shortlist = shortlist or new_shortlist(model.config.joint_dim, None)
        contents = Contents.encode(model, shortlist, dataset, dtype, progress)
        return cls(model, shortlist, contents, image_folder, run)

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
        shortlist: Shortlist | None = None,
        image_folder: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
    ) -> "Collection":
        """Makes a collection of images that the model encoded already.

        Args:
            model: the model.
            images: n images, such as `ImageEncodings.of(model.encode_image(regions))`.
            texts: the captions, such as `CaptionEncodings.of(model.encode_text(captions))`; None
                encodes them.
            ids: id of every image; by default its number.
            captions: m captions as they are written; there may be none.
            caption_to_image: int `[m]`, the row of each caption's image.
            boxes: `[n, N, 4]` x0, y0, x1, y1 of every region, for galleries.
            shortlist: as for `build`.
            image_folder: as for `build`.
            run: as for `build`.

        Returns:
            The collection, in memory.

        Raises:
            ValueError: if the parts do not fit together.
        """
        shortlist = shortlist or new_shortlist(model.config.joint_dim, None)
        if texts is None:
            texts = CaptionEncodings.encode(model, captions, str(images.regions.dtype))
        contents = Contents.of(
            shortlist,
            images,
            texts,
            ids=[str(row) for row in range(len(images))] if ids is None else ids,
            captions=captions,
            caption_to_image=caption_to_image,
            boxes=boxes,
        )
        return cls(model, shortlist, contents, image_folder, run)

    @property
    def ids(self) -> list[str]:
        """Id of every image."""
        return self.contents.ids

    @property
    def captions(self) -> list[str]:
        """Every caption."""
        return self.contents.captions

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
            images = self.contents.images.read(rows)
            return self.model.score_encoded(
                images, text, _IMAGES_OF_A_BLOCK, region_products=False
            )[:, 0]

        queries = self.shortlist.text_vectors(texts)
        index = partial(self._index, "images")
        return search_in_two_stages(queries, index, score, self.ids, k, shortlist)

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
            rows = self.contents.rows_of(images)
            encoded, queries = self.contents.images.read(rows), self.contents.vectors[rows]

        def score(query: int, rows: np.ndarray) -> tf.Tensor:
            image = {key: value[query : query + 1] for key, value in encoded.items()}
            return self.model.score_encoded(image, self.contents.texts.read(rows), 1)[0]

        index = partial(self._index, "captions")
        return search_in_two_stages(queries, index, score, self.captions, k, shortlist)

    def add(self, dataset: RetrievalDataset) -> None:
        """Encodes further images with their captions and puts them at the end.

        Args:
            dataset: images with ids that are not in the collection, and as many regions.

        Raises:
            DataError: if region features are not finite.
            ValueError: if an id is in the collection already, or the shape is another.
        """
        regions = self.contents.images.regions
        # Looked at before anything is encoded, which may take long.
        if dataset.max_regions != regions.shape[1]:
            raise ValueError(
                f"The collection has {regions.shape[1]} regions an image. "
                f"Received: {dataset.source} with {dataset.max_regions}"
            )
        known = set(self.ids)
        if twice := [id_ for id_ in image_ids(dataset) if id_ in known]:
            raise ValueError(f"The collection has this image already. Received: {twice[0]!r}")
        more = Contents.encode(self.model, self.shortlist, dataset, str(regions.dtype))
        self._change(self.contents.append(more))

    def remove(self, ids: Sequence[str]) -> None:
        """Takes images and their captions out.

        Args:
            ids: ids of the images.

        Raises:
            ValueError: if an image is unknown, or none would be left.
        """
        self._change(self.contents.without(self.contents.rows_of(ids)))

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

    def _change(self, contents: Contents) -> None:
        self.contents = contents
        self._indexes = {}

    def _index(self, side: Side) -> Index:
        if side not in self._indexes:
            contents = self.contents
            vectors = contents.vectors if side == "images" else contents.caption_vectors
            self._indexes[side] = self._make_index(side).index(vectors)
        return self._indexes[side]
