"""The files `{split}_caps.txt` and `{split}_ids.txt`."""

import os
from pathlib import Path

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.formats.token_file import names_an_image
from hslm_tf.data.text_lines import line_place, read_lines, write_lines


def read_captions(path: str | os.PathLike[str]) -> list[str]:
    """Reads a captions file and refuses a token file under the name of one."""
    captions = read_lines(path)
    for row, caption in enumerate(captions):
        if names_an_image(caption):
            raise DataError(
                f"{line_place(path, row)}: {caption[:60]!r} begins with the name and number of an "
                "image, as in Flickr's token files, expected a caption alone. Under a name that "
                "ends in .token the file is read with the names"
            )
    return captions


def write_captions(dataset: RetrievalDataset, captions: Path, ids: Path) -> None:
    """Writes captions and ids, an id for every caption where images differ in their number."""
    if dataset.captions:
        write_lines(captions, dataset.captions)
    written = written_ids(dataset)
    if written is not None:
        write_lines(ids, written)


def written_ids(dataset: RetrievalDataset) -> list[str] | None:
    """The ids as a file holds them."""
    ids = dataset.image_ids
    if has_equal_captions(dataset):
        return ids
    return [str(image) if ids is None else ids[image] for image in dataset.caption_to_image]


def has_equal_captions(dataset: RetrievalDataset) -> bool:
    """Whether all images have the same number of captions."""
    counts = np.bincount(dataset.caption_to_image, minlength=dataset.num_images)
    return bool((counts == counts[0]).all())
