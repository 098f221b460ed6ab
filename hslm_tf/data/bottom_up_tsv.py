"""The tab-separated files of bottom-up attention (Anderson et al., CVPR 2018)."""

import base64
import binascii
import os
from pathlib import Path

import numpy as np

from hslm_tf.data.assembly import assemble
from hslm_tf.data.blocks import Advance, image_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import require_files
from hslm_tf.data.text_lines import line_place, read_lines, write_lines
from hslm_tf.data.tsv_lines import FIELDS, FLOAT, TSVLine, index_lines, split_fields


class TSVRows:
    """A base64 field of a TSV file as an array `[rows, N, width]`, decoded on demand.

    Args:
        path: the file.
        lines: the lines that make up the rows, in order.
        field: `features`, or `boxes`, which come out relative to the image size.
        width: numbers per region.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, lines: list[TSVLine], field: str, width: int) -> None:
        self._path = path
        self._lines = lines
        self._field = field
        self.shape = (len(lines), max(line.num_boxes for line in lines), width)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows.

        Args:
            rows: int `[b]`, in any order, repeats allowed.

        Returns:
            float32 `[b, N, width]`, zero beyond the regions of an image.

        Raises:
            DataError: if a field is not base64, or holds NaN or infinity.
        """
        values = np.zeros((len(rows), *self.shape[1:]), np.float32)
        # Opened for every batch, so that threads and processes share no handle.
        with open(self._path, "rb") as file:
            for value, row in zip(values, rows, strict=True):
                line = self._lines[row]
                file.seek(line.offset)
                fields = split_fields(file.readline())
                value[: line.num_boxes] = self._decode(fields[FIELDS.index(self._field)], line)
        return values

    def _decode(self, text: bytes, line: TSVLine) -> np.ndarray:
        place = line_place(self._path, line.number)
        try:
            numbers = np.frombuffer(base64.b64decode(text, validate=True), FLOAT)
        except binascii.Error as error:
            raise DataError(f"{place}: {self._field} is not base64: {error}") from error
        if not np.isfinite(numbers).all():
            raise DataError(f"{place}: {self._field} holds NaN or infinity")
        numbers = numbers.reshape(line.num_boxes, self.shape[2])
        return numbers / np.float32(line.size * 2) if self._field == "boxes" else numbers


def tsv_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split, the optional ids included.

    Args:
        folder: the data folder.
        split: `train`, `dev` or `test`.

    Returns:
        From a part (`caps`, `ids`, `tsv`) to its file.
    """
    folder = Path(folder)
    return {
        "caps": folder / f"{split}_caps.txt",
        "ids": folder / f"{split}_ids.txt",
        "tsv": folder / f"{split}.tsv",
    }


def load_bottom_up_tsv(
    folder: str | os.PathLike[str], split: str, captions_optional: bool = False
) -> RetrievalDataset:
    """Opens a split whose region features are a bottom-up-attention TSV file.

    `{split}.tsv` has the fields `image_id`, `image_w`, `image_h`, `num_boxes`, `boxes` and
    `features`, the last two float32 in base64; `boxes` may be empty on every line.
    `{split}_caps.txt` has the same number of captions for every image. Images come in the order
    of the lines, or, with `{split}_ids.txt`, in the order of its ids, which may leave lines out.
    Images with fewer regions than others are padded with zeros. Opening reads the file once to
    find its lines; features are decoded only when they are read.

    Args:
        folder: the data folder.
        split: `train`, `dev` or `test`.
        captions_optional: whether a split of images alone, to search in, is accepted.

    Returns:
        The dataset; box corners are divided by the size of the image.

    Raises:
        DataError: if a file is missing, broken, or does not fit the others.
    """
    paths = tsv_paths(folder, split)
    without_captions = captions_optional and not paths["caps"].exists()
    require_files(folder, [paths["tsv"]] if without_captions else [paths["tsv"], paths["caps"]])
    path = paths["tsv"]
    lines = index_lines(path)
    if paths["ids"].exists():
        lines = _select(lines, read_lines(paths["ids"]), paths["ids"], path)
    num_boxes = np.array([line.num_boxes for line in lines], np.int32)
    width = lines[0].feature_bytes // (FLOAT.itemsize * lines[0].num_boxes)

    def label(part: str, row: int | None = None) -> str:
        part_path = paths.get(part, path)
        return str(part_path) if row is None else line_place(part_path, row)

    return assemble(
        split,
        TSVRows(path, lines, "features", width),
        None if without_captions else read_lines(paths["caps"]),
        label=label,
        image_ids=[line.image_id for line in lines],
        boxes=TSVRows(path, lines, "boxes", 4) if lines[0].box_bytes else None,
        num_regions=None if (num_boxes == num_boxes[0]).all() else num_boxes,
        layout="per_image",
    )


def write_bottom_up_tsv(
    dataset: RetrievalDataset, folder: Path, dtype: np.dtype, advance: Advance
) -> None:
    """Writes a split as a bottom-up-attention TSV file and its captions.

    Image sizes are not known here: width and height are written as 1 and the boxes as they are.

    Args:
        dataset: the split; its captions are in image order.
        folder: an existing folder.
        dtype: must be float32, the only type of this format.
        advance: called with the number of images after each block.

    Raises:
        DataError: if `dtype` is not float32, or an id contains a tab.
    """
    if dtype != np.float32:
        raise DataError(f"a bottom-up-attention TSV holds float32, {dtype} was asked for")
    paths = tsv_paths(folder, dataset.name)
    with open(paths["tsv"], "wb") as file:
        for images in image_blocks(dataset):
            regions, mask = dataset.read_images(images)
            boxes = dataset.read_boxes(images)
            for row, image in enumerate(images):
                image_id = str(image) if dataset.image_ids is None else dataset.image_ids[image]
                if "\t" in image_id:
                    raise DataError(f"{dataset.source}, row {image}: a tab in the id {image_id!r}")
                real = mask[row]
                text = b"" if boxes is None else _encode(boxes[row, real])
                short = f"{image_id}\t1\t1\t{real.sum()}\t".encode()
                file.write(short + text + b"\t" + _encode(regions[row, real]) + b"\n")
            advance(len(images))
    write_lines(paths["caps"], dataset.captions)


def _encode(values: np.ndarray) -> bytes:
    return base64.b64encode(np.ascontiguousarray(values, FLOAT).data)


def _select(lines: list[TSVLine], ids: list[str], ids_path: Path, path: Path) -> list[TSVLine]:
    by_id = {line.image_id: line for line in lines}
    for row, image_id in enumerate(ids):
        if image_id not in by_id:
            raise DataError(f"{line_place(ids_path, row)}: {path} has no image {image_id!r}")
    return [by_id[image_id] for image_id in ids]
