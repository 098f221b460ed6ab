"""The file of a collection."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf import __version__
from hslm_tf.data.errors import DataError
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.caption_encodings import CaptionEncodings
from hslm_tf.retrieval.checked_hdf5 import read_manifest, read_parts, write_parts
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.image_encodings import ImageEncodings
from hslm_tf.retrieval.projection_heads import ProjectionHeads, read_heads
from hslm_tf.retrieval.rows import Rows

_FORMAT = 2
_LAZY = ("regions", "image_global", "words", "text_global", "boxes")
_OPTIONAL = ("image_global", "text_global", "boxes", "image_hubness", "caption_hubness")
_TEXTS = ("ids", "captions")
# The axes of an array, of which those of the same name are of the same length, and its kind.
_ARRAYS = {
    "lengths": (("captions",), "i"),
    "vectors": (("images", "dim"), "f"),
    "region_mask": (("images", "regions"), "b"),
    "regions": (("images", "regions", "width"), "f"),
    "image_global": (("images", "width"), "f"),
    "boxes": (("images", "regions", "corners"), "f"),
    "caption_to_image": (("captions",), "i"),
    "caption_vectors": (("captions", "dim"), "f"),
    "words": (("tokens", "width"), "f"),
    "text_global": (("captions", "width"), "f"),
    "image_hubness": (("images",), "f"),
    "caption_hubness": (("captions",), "f"),
    "projection_heads": (("bytes",), "u"),
}


def write_collection(
    path: Path,
    model: HSLM,
    heads: ProjectionHeads,
    encoded: EncodedDataset,
    image_folder: str | None,
    run: str | None,
) -> None:
    """Writes a collection, in one piece."""
    parts = {
        "ids": encoded.ids,
        "vectors": encoded.vectors,
        "region_mask": encoded.images.region_mask,
        "regions": encoded.images.regions,
        "image_global": encoded.images.image_global,
        "boxes": encoded.boxes,
        "captions": encoded.captions,
        "caption_to_image": encoded.caption_to_image,
        "caption_vectors": encoded.caption_vectors,
        "words": encoded.texts.in_order(),
        "lengths": encoded.texts.lengths,
        "text_global": encoded.texts.text_global,
        "image_hubness": encoded.image_hubness,
        "caption_hubness": encoded.caption_hubness,
        "projection_heads": _to_bytes(heads),
    }
    manifest = {
        "format": _FORMAT,
        "hslm_tf": __version__,
        "model": model_fingerprint(model),
        "images": len(encoded.ids),
        "captions": len(encoded.captions),
        "run": run,
        "image_folder": image_folder,
        "extraction": encoded.extraction,
    }
    write_parts(path, {name: part for name, part in parts.items() if part is not None}, manifest)


def read_collection(path: Path, model: HSLM, verify: bool) -> dict[str, Any]:
    """Reads the parts of a collection."""
    parts, manifest = read_parts(path, _LAZY, verify)
    _check_format(path, manifest)
    fingerprint = model_fingerprint(model)
    if manifest["model"] != fingerprint:
        raise ValueError(
            f"{path} was built with another model, {manifest['model'][:12]}, than this one, "
            f"{fingerprint[:12]}: build it again"
        )
    _check_parts(path, parts, model.config.joint_dim)
    try:
        return {"model": model, **_arguments(parts, manifest)}
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _check_parts(path: Path, parts: dict[str, Any], width: int) -> None:
    """Compares the parts with each other: checksums alone say nothing of who wrote them."""
    missing = [name for name in (*_TEXTS, *_ARRAYS) if name not in (*parts, *_OPTIONAL)]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: it is no collection")
    sizes = {"width": width, "corners": 4}
    for name in _TEXTS:
        if not isinstance(parts[name], list):
            raise DataError(f"{path}:/{name} is {parts[name].dtype}, expected strings")
        sizes["images" if name == "ids" else name] = len(parts[name])
    for name, (axes, kind) in _ARRAYS.items():
        if name not in parts:
            continue
        if isinstance(parts[name], list):
            raise DataError(f"{path}:/{name} holds strings, expected numbers")
        found = parts[name]
        expected = [sizes.get(axis, axis) for axis in axes]
        fits = len(found.shape) == len(axes) and found.dtype.kind == kind
        if not fits or any(
            sizes.setdefault(axis, length) != length
            for axis, length in zip(axes, found.shape, strict=True)
        ):
            raise DataError(
                f"{path}:/{name} is {found.dtype} of shape {found.shape}, expected {expected}"
            )
        if name == "lengths":
            if (found < 0).any():
                raise DataError(f"{path}:/lengths has a caption of {found.min()} words")
            sizes["tokens"] = int(found.sum())


def _arguments(parts: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:

    def rows(name: str) -> Rows | None:
        return Rows([parts[name]]) if name in parts else None

    lengths = parts["lengths"]
    starts = np.cumsum(lengths) - lengths
    as_they_are = ("ids", "vectors", "captions", "caption_to_image", "caption_vectors")
    return {
        "heads": _from_bytes(parts["projection_heads"]),
        "encoded": EncodedDataset(
            images=ImageEncodings(rows("regions"), parts["region_mask"], rows("image_global")),
            texts=CaptionEncodings(rows("words"), starts, lengths, rows("text_global")),
            boxes=rows("boxes"),
            # Files of before there was `extract` lack it.
            extraction=manifest.get("extraction"),
            image_hubness=parts.get("image_hubness"),
            caption_hubness=parts.get("caption_hubness"),
            **{name: parts[name] for name in as_they_are},
        ),
        "image_folder": manifest["image_folder"],
        "run": manifest["run"],
    }


def run_of_collection(path: Path) -> str | None:
    """Reads which run's model a collection was built with."""
    manifest = read_manifest(path)
    _check_format(path, manifest)
    return manifest["run"]


def _check_format(path: Path, manifest: dict[str, Any]) -> None:
    if manifest.get("format") != _FORMAT:
        raise DataError(f"{path} has format {manifest.get('format')}, expected {_FORMAT}")
    if not isinstance(manifest.get("model"), str):
        raise DataError(f"the manifest of {path} names no model")
    for name in ("run", "image_folder"):
        if name not in manifest or not isinstance(manifest[name], str | None):
            raise DataError(
                f"the manifest of {path} has {name} {manifest.get(name)!r}, expected a path or null"
            )
    if not isinstance(manifest.get("extraction"), dict | None):
        raise DataError(f"the manifest of {path} has an extraction that is no object")


def _to_bytes(heads: ProjectionHeads) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        heads.save(Path(folder) / "projection_heads.keras")
        return np.fromfile(Path(folder) / "projection_heads.keras", np.uint8)


def _from_bytes(data: np.ndarray) -> ProjectionHeads:
    with tempfile.TemporaryDirectory() as folder:
        data.tofile(Path(folder) / "projection_heads.keras")
        return read_heads(Path(folder) / "projection_heads.keras")
