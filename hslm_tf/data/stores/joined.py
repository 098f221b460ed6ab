"""Several stores as one: `train36.hdf5` and `val36.hdf5`, a TSV in parts, folders of files."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.stores.store import Images, Store


class JoinedRows:
    """Rows of several arrays `[rows, N, width]` in one order.

    Args:
        arrays: the arrays; N may differ, and what is missing reads as zero.
        sources: names of the arrays in error messages.
        part: int `[b]`, the array of each row.
        row: int `[b]`, the row in it.
    """

    def __init__(
        self, arrays: Sequence[Any], sources: Sequence[str], part: np.ndarray, row: np.ndarray
    ) -> None:
        self._arrays = arrays
        self._sources = sources
        self._part = part
        self._row = row
        self.dtype = np.result_type(*(array.dtype for array in arrays))
        longest = max(array.shape[1] for array in arrays)
        self.shape = (len(part), longest, arrays[0].shape[2])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            `[b, N, width]` of `dtype`.
        """
        values = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        for part in np.unique(self._part[rows]):
            here = np.flatnonzero(self._part[rows] == part)
            array = self._arrays[part]
            values[here, : array.shape[1]] = array[self._row[rows[here]]]
        return values

    def place(self, row: int) -> str:
        """Names a row in an error message.

        Args:
            row: the row.

        Returns:
            The file, and the row in it.
        """
        return f"{self._sources[self._part[row]]}, row {self._row[row]}"


def join_stores(stores: Sequence[Store], source: str) -> Store:
    """Makes one store of several.

    Args:
        stores: the stores, each with ids.
        source: names the whole in messages.

    Returns:
        The store; the first one itself where there is no other.

    Raises:
        DataError: if two of them have an image of the same id, or, when images are selected, if
            their features differ in width or only some of them have boxes.
    """
    if len(stores) == 1:
        return stores[0]
    ids = [image_id for store in stores for image_id in store.ids]
    part_of = np.repeat(np.arange(len(stores)), [store.count for store in stores])
    first = np.cumsum([0, *(store.count for store in stores)])
    place_of: dict[str, int] = {}
    for place, image_id in enumerate(ids):
        other = place_of.setdefault(image_id, place)
        if other != place:
            raise DataError(
                f"{stores[part_of[place]].source} and {stores[part_of[other]].source} both hold "
                f"the image {image_id!r}"
            )

    def select(places: np.ndarray) -> Images:
        parts = part_of[places]
        used = np.unique(parts)
        opened = [stores[part].select(places[parts == part] - first[part]) for part in used]
        sources = [stores[part].source for part in used]
        part, row = np.searchsorted(used, parts), np.zeros(len(places), np.int64)
        counts = np.zeros(len(places), np.int32)
        for number, images in enumerate(opened):
            row[part == number] = images.rows
            real = images.num_regions
            counts[part == number] = images.regions.shape[1] if real is None else real[images.rows]
            _check_like(opened[0], images, sources[0], sources[number])
        boxes = None
        if opened[0].boxes is not None:
            boxes = JoinedRows([images.boxes for images in opened], sources, part, row)
        regions = JoinedRows([images.regions for images in opened], sources, part, row)
        return Images(
            regions=regions,
            rows=np.arange(len(places)),
            boxes=boxes,
            num_regions=None if (counts == regions.shape[1]).all() else counts,
        )

    return Store(
        source=source,
        kind=", ".join(dict.fromkeys(store.kind for store in stores)),
        recognised_by=f"{len(stores)} parts: "
        + ", ".join(dict.fromkeys(store.recognised_by for store in stores)),
        count=len(ids),
        ids=ids,
        ordered=False,
        select=select,
    )


def _check_like(first: Images, other: Images, first_source: str, other_source: str) -> None:
    for images, source in ((first, first_source), (other, other_source)):
        if len(images.regions.shape) != 3:
            raise DataError(f"{source} has shape {images.regions.shape}, expected three axes")
    found = [
        f"{images.regions.shape[2]} numbers a region with{'out' * (images.boxes is None)} boxes"
        for images in (first, other)
    ]
    if found[0] != found[1]:
        raise DataError(f"{first_source} has {found[0]}, but {other_source} {found[1]}")
