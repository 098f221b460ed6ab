"""The file of a collection."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from hslm_tf import __version__
from hslm_tf.data.errors import DataError
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.model import HSLM
from hslm_tf.retrieval.caption_encodings import CaptionEncodings
from hslm_tf.retrieval.checked_hdf5 import read_parts, write_parts
from hslm_tf.retrieval.contents import Contents
from hslm_tf.retrieval.image_encodings import ImageEncodings
from hslm_tf.retrieval.rows import Rows
from hslm_tf.retrieval.shortlist import Shortlist, open_shortlist
from hslm_tf.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.retrieval.collection import Collection

_FORMAT = 1
_LAZY = ("regions", "image_global", "words", "text_global", "boxes")


def write_collection(collection: "Collection", path: Path) -> None:
    """Writes a collection, in one piece.

    Args:
        collection: the collection.
        path: the file.

    Raises:
        OSError: if the file cannot be written.
    """
    contents = collection.contents
    parts = {
        "ids": contents.ids,
        "vectors": contents.vectors,
        "region_mask": contents.images.region_mask,
        "regions": contents.images.regions,
        "image_global": contents.images.pooled,
        "boxes": contents.boxes,
        "captions": contents.captions,
        "caption_to_image": contents.caption_to_image,
        "caption_vectors": contents.caption_vectors,
        "words": contents.texts.in_order(),
        "lengths": contents.texts.lengths,
        "text_global": contents.texts.pooled,
        "shortlist": _to_bytes(collection.shortlist),
    }
    manifest = {
        "format": _FORMAT,
        "hslm_tf": __version__,
        "model": model_fingerprint(collection.model),
        "images": len(contents.ids),
        "captions": len(contents.captions),
        "run": collection.run,
        "image_folder": collection.image_folder,
    }
    write_parts(path, {name: part for name, part in parts.items() if part is not None}, manifest)


def read_collection(path: Path, model: HSLM | None, verify: bool) -> dict[str, Any]:
    """Reads what makes a collection.

    Args:
        path: the file.
        model: the model that it was built with; None for that of its run.
        verify: compares the checksums of local features too.

    Returns:
        The arguments of `Collection`.

    Raises:
        DataError: if the file is missing, truncated or damaged, or no model is found.
        ValueError: if the model is another.
    """
    parts, manifest = read_parts(path, _LAZY, verify)
    if manifest.get("format") != _FORMAT:
        raise DataError(f"{path} has format {manifest.get('format')}, expected {_FORMAT}")
    model = model or _model_of(path, manifest["run"])
    fingerprint = model_fingerprint(model)
    if manifest["model"] != fingerprint:
        raise ValueError(
            f"{path} was built with another model, {manifest['model'][:12]}, than this one, "
            f"{fingerprint[:12]}: build it again"
        )

    def rows(name: str) -> Rows | None:
        return Rows([parts[name]]) if name in parts else None

    lengths = parts["lengths"]
    starts = np.cumsum(lengths) - lengths
    as_they_are = ("ids", "vectors", "captions", "caption_to_image", "caption_vectors")
    return {
        "model": model,
        "shortlist": _from_bytes(parts["shortlist"]),
        "contents": Contents(
            images=ImageEncodings(rows("regions"), parts["region_mask"], rows("image_global")),
            texts=CaptionEncodings(rows("words"), starts, lengths, rows("text_global")),
            boxes=rows("boxes"),
            **{name: parts[name] for name in as_they_are},
        ),
        "image_folder": manifest["image_folder"],
        "run": manifest["run"],
    }


def _model_of(path: Path, run: str | None) -> HSLM:
    if run is None or not RunDirectory(Path(run)).best_model.exists():
        raise DataError(f"{path} was built with the run {run}: its model is not found")
    return keras.saving.load_model(RunDirectory(Path(run)).best_model)


def _to_bytes(shortlist: Shortlist) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        shortlist.save(Path(folder) / "shortlist.keras")
        return np.fromfile(Path(folder) / "shortlist.keras", np.uint8)


def _from_bytes(data: np.ndarray) -> Shortlist:
    with tempfile.TemporaryDirectory() as folder:
        data.tofile(Path(folder) / "shortlist.keras")
        return open_shortlist(Path(folder) / "shortlist.keras")
