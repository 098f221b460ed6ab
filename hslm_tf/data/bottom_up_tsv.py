"""The tab-separated files of bottom-up attention (Anderson et al., CVPR 2018) and of LXMERT."""

import base64
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from hslm_tf.data.blocks import Advance, image_blocks
from hslm_tf.data.caption_files import caption_paths, has_equal_captions, write_captions
from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import require_files
from hslm_tf.data.joining import load_beside
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.stores.tsv import open_tsv
from hslm_tf.data.tsv_lines import FLOAT, LXMERT_FIELDS


def tsv_paths(folder: str | os.PathLike[str], split: str) -> dict[str, Path]:
    """The files of a split, the optional ids included.

    Args:
        folder: the data folder.
        split: `train`, `dev` or `test`.

    Returns:
        From a part (`caps`, `ids`, `tsv`) to its file.
    """
    return {**caption_paths(folder, split), "tsv": Path(folder) / f"{split}.tsv"}


def load_bottom_up_tsv(
    folder: str | os.PathLike[str], split: str, captions_optional: bool = False
) -> RetrievalDataset:
    """Opens a split whose region features are a TSV file of bottom-up attention or of LXMERT.

    `{split}.tsv` has the fields `image_id`, `image_w`, `image_h`, `num_boxes`, `boxes` and
    `features`, the last two float32 in base64, or LXMERT's ten; `boxes` may be empty on every line.
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
    options = ReadOptions(captions_optional=captions_optional)
    path = tsv_paths(folder, split)["tsv"]
    require_files(folder, [path])
    return load_beside(open_tsv(path), Path(folder), split, options)


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
    _write(dataset, folder, dtype, advance, b"1\t1", b"")


def write_lxmert_tsv(
    dataset: RetrievalDataset, folder: Path, dtype: np.dtype, advance: Advance
) -> None:
    """Writes a split as LXMERT's TSV file, with its header, and its captions.

    Objects and attributes are not known here, and image sizes neither: their fields are empty or 1.

    Args:
        dataset: as for `write_bottom_up_tsv`.
        folder: as for `write_bottom_up_tsv`.
        dtype: as for `write_bottom_up_tsv`.
        advance: as for `write_bottom_up_tsv`.

    Raises:
        DataError: as for `write_bottom_up_tsv`.
    """
    header = "\t".join(LXMERT_FIELDS).encode() + b"\n"
    # Height and width, then classes and confidences of objects and attributes.
    _write(dataset, folder, dtype, advance, b"1\t1\t\t\t\t", header)


def _write(
    dataset: RetrievalDataset,
    folder: Path,
    dtype: np.dtype,
    advance: Advance,
    unknown: bytes,
    header: bytes,
) -> None:
    if dtype != np.float32:
        raise DataError(f"a TSV of region features holds float32, {dtype} was asked for")
    paths, ids = tsv_paths(folder, dataset.name), ids_or_numbers(dataset)
    with open(paths["tsv"], "wb") as file:
        file.write(header)
        for images in image_blocks(dataset):
            regions, mask = dataset.read_images(images)
            boxes = dataset.read_boxes(images)
            for row, image in enumerate(images):
                image_id = ids[image]
                if "\t" in image_id:
                    raise DataError(f"{dataset.source}, row {image}: a tab in the id {image_id!r}")
                real = mask[row]
                text = b"" if boxes is None else _encode(boxes[row, real])
                features = _encode(regions[row, real])
                fields = image_id.encode(), unknown, str(real.sum()).encode(), text, features
                file.write(b"\t".join(fields) + b"\n")
            advance(len(images))
    # The lines have the ids; a file of them is needed only to tell which caption is whose.
    if has_equal_captions(dataset):
        dataset = replace(dataset, image_ids=None)
    write_captions(dataset, paths["caps"], paths["ids"])


def _encode(values: np.ndarray) -> bytes:
    return base64.b64encode(np.ascontiguousarray(values, FLOAT).data)
