"""Puts captions that name their images and the region features of a collection together."""

from pathlib import Path

import numpy as np

from hslm_tf.data.assembly import assemble
from hslm_tf.data.caption_files import read_captions
from hslm_tf.data.captioned import CaptionedImages, read_lists
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.folders import require_files
from hslm_tf.data.options import ReadOptions
from hslm_tf.data.stores.store import Store, find_images
from hslm_tf.data.text_lines import line_place


def join(
    split: str, images: CaptionedImages, store: Store, options: ReadOptions
) -> RetrievalDataset:
    """Makes a dataset of images, their captions, and the features found by their names.

    Args:
        split: name of the split.
        images: the images of the split.
        store: region features of these images and perhaps of others, with ids.
        options: how.

    Returns:
        The dataset, in the order of the captions; its ids are the names.

    Raises:
        DataError: if an image has no features, or no captions where others have some.
    """
    found = find_images(store, images.names, images.coco_ids)
    lacking = np.flatnonzero(found.places < 0)
    if lacking.size:
        first = lacking[0]
        raise DataError(
            f"{images.place(first)}: {store.source} has no image {images.names[first]!r}; it "
            f"lacks {len(lacking)} of {len(images.names)}, looked up by {found.key}, and holds "
            f"{', '.join(map(repr, store.ids[:3]))} and others"
        )
    captions, counts = _flat(split, images, options)
    opened = store.select(found.places)

    def label(part: str, row: int | None = None) -> str:
        source = images.source if part in ("caps", "ids") else _source(store, part)
        return source if row is None else f"{source}, row {row}"

    return assemble(
        split,
        opened.regions,
        captions,
        label=label,
        image_ids=list(images.names),
        boxes=opened.boxes,
        num_regions=opened.num_regions,
        layout="per_image",
        image_rows=opened.rows,
        caption_counts=counts,
        float64=options.float64,
    )


def load_beside(store: Store, folder: Path, split: str, options: ReadOptions) -> RetrievalDataset:
    """Opens a split of which a store has the features, and files beside it captions and ids.

    Args:
        store: the region features.
        folder: folder with `{split}_caps.txt` and `{split}_ids.txt`. Without ids, all images are
            taken in the order of the store.
        split: the split.
        options: how.

    Returns:
        The dataset.

    Raises:
        DataError: if a file is missing or broken, or they do not fit each other.
    """
    caps_path, ids_path = folder / f"{split}_caps.txt", folder / f"{split}_ids.txt"
    if ids_path.exists() and store.ids is not None:
        return join(split, read_lists(folder, split, options), store, options)
    if not caps_path.exists() and options.captions_optional:
        return all_images(split, store, None, options)
    require_files(folder, [caps_path] if store.ordered else [caps_path, ids_path])
    return all_images(split, store, (caps_path, read_captions(caps_path)), options)


def all_images(
    split: str, store: Store, captions: tuple[Path, list[str]] | None, options: ReadOptions
) -> RetrievalDataset:
    """Makes a dataset of all images of a store, in its order.

    Args:
        split: name of the split.
        store: the region features.
        captions: a file and its captions, equally many for every image, or None.
        options: how.

    Returns:
        The dataset.

    Raises:
        DataError: if the captions do not fit.
    """
    opened = store.select(np.arange(store.count))

    def label(part: str, row: int | None = None) -> str:
        if part == "caps":
            return str(captions[0]) if row is None else line_place(captions[0], row)
        source = _source(store, part)
        return source if row is None else f"{source}, row {row}"

    return assemble(
        split,
        opened.regions,
        None if captions is None else captions[1],
        label=label,
        image_ids=None if store.ids is None else list(store.ids),
        boxes=opened.boxes,
        num_regions=opened.num_regions,
        image_rows=opened.rows,
        float64=options.float64,
    )


def _source(store: Store, part: str) -> str:
    return store.source if part == "ims" else f"{store.source}, {part}"


def _flat(
    split: str, images: CaptionedImages, options: ReadOptions
) -> tuple[list[str] | None, list[int]]:
    if images.captions is None:
        if not options.captions_optional:
            raise DataError(f"{images.source} has no captions in the split {split}")
        return None, [0] * len(images.names)
    counts = [len(captions) for captions in images.captions]
    if 0 in counts:
        raise DataError(
            f"{images.source}, split {split}: the image {images.names[counts.index(0)]!r} has no "
            "caption, though others have"
        )
    return [caption for captions in images.captions for caption in captions], counts
