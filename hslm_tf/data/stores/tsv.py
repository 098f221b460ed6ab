"""TSV files of region features as a store."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.errors import DataError
from hslm_tf.data.stores.store import Images, Store
from hslm_tf.data.text_lines import line_place
from hslm_tf.data.tsv_lines import FLOAT, Columns, TSVLine, index_lines, split_fields


class TSVRows:
    """A base64 field of a TSV file as an array `[rows, N, width]`, decoded on demand.

    Args:
        path: the file.
        columns: what its fields are.
        lines: the lines that make up the rows, in order.
        field: `features`, or `boxes`, which come out relative to the image size.
        width: numbers per region.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self, path: Path, columns: Columns, lines: Sequence[TSVLine], field: str, width: int
    ) -> None:
        self._path = path
        self._lines = lines
        self._field = field
        self._place = columns.place(field)
        self.shape = (len(lines), max(line.num_boxes for line in lines), width)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            float32 `[b, N, width]`, zero beyond the regions of an image.

        Raises:
            DataError: if a field is not base64, holds NaN or infinity, or the file has changed.
        """
        values = np.zeros((len(rows), *self.shape[1:]), np.float32)
        # Opened for every batch, so that threads and processes share no handle.
        with open(self._path, "rb") as file:
            for value, row in zip(values, rows, strict=True):
                line = self._lines[row]
                file.seek(line.offset)
                fields = split_fields(file.readline())
                value[: line.num_boxes] = self._decode(fields, line)
        return values

    def _decode(self, fields: list[bytes], line: TSVLine) -> np.ndarray:
        place = line_place(self._path, line.number)
        try:
            text = base64.b64decode(fields[self._place], validate=True)
            numbers = np.frombuffer(text, FLOAT).reshape(line.num_boxes, self.shape[2])
        except binascii.Error as error:
            raise DataError(f"{place}: {self._field} is not base64: {error}") from error
        except (IndexError, ValueError) as error:
            raise DataError(f"{place} is not what it was when the file was opened") from error
        if not np.isfinite(numbers).all():
            raise DataError(f"{place}: {self._field} holds NaN or infinity")
        return numbers / np.float32(line.size * 2) if self._field == "boxes" else numbers


def open_tsv(path: Path) -> Store:
    """Opens a file of bottom-up attention or of LXMERT; reads it once to find its lines.

    Args:
        path: the file.

    Returns:
        The store, in the order of the lines; box corners are divided by the size of the image.

    Raises:
        DataError: if a line is not that of an image.
    """
    columns, lines = index_lines(path)

    def select(places: np.ndarray) -> Images:
        chosen = [lines[place] for place in places]
        num_boxes = np.array([line.num_boxes for line in chosen], np.int32)
        width = chosen[0].feature_bytes // (FLOAT.itemsize * chosen[0].num_boxes)
        has_boxes = chosen[0].box_bytes > 0
        return Images(
            regions=TSVRows(path, columns, chosen, "features", width),
            rows=np.arange(len(chosen)),
            boxes=TSVRows(path, columns, chosen, "boxes", 4) if has_boxes else None,
            num_regions=None if (num_boxes == num_boxes[0]).all() else num_boxes,
        )

    return Store(
        source=str(path),
        kind=f"TSV of {columns.written_by}",
        recognised_by=str(columns),
        count=len(lines),
        ids=[line.image_id for line in lines],
        ordered=True,
        select=select,
    )
