"""The file of a collection: HDF5 with a manifest and checksums."""

import json
import os
import tempfile
import zlib
from collections.abc import Collection as Names
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hslm_tf import __version__
from hslm_tf.config import ModelConfig
from hslm_tf.data.atomic_write import atomic_write, naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.hdf5_rows import dataset_at, open_hdf5, read_strings
from hslm_tf.data.hdf5_writing import bytes_of, write_hdf5_file, write_strings
from hslm_tf.data.json_object import parse_object
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.encoded_dataset import EncodedDataset
from hslm_tf.retrieval.encodings import CaptionEncodings, ImageEncodings
from hslm_tf.retrieval.projection_heads import ProjectionHeads, read_heads
from hslm_tf.retrieval.rows import Rows

_FORMAT = 2
_BLOCK_BYTES = 2**26
_TEXTS = ("ids", "captions")
# The axes of every array and its kind; axes of the same name have the same length.
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
_OPTIONAL = ("image_global", "text_global", "boxes", "image_hubness", "caption_hubness")
# Large parts are mapped, not read.
_MAPPED = ("regions", "image_global", "words", "text_global", "boxes")
_OF_IMAGES = ("regions", "region_mask", "image_global")
_OF_TEXTS = ("words", "lengths", "text_global")
_OTHERS = (
    *("ids", "vectors", "boxes", "image_hubness"),
    *("captions", "caption_to_image", "caption_vectors", "caption_hubness"),
)


def write_collection(
    path: Path,
    model: HSLM,
    heads: ProjectionHeads,
    encoded: EncodedDataset,
    image_folder: str | None,
    run: str | None,
) -> None:
    """Writes a collection in one piece: until it is complete, an older file stays as it is."""
    places = (encoded, _OTHERS), (encoded.images, _OF_IMAGES), (encoded.texts, _OF_TEXTS)
    parts = {name: getattr(place, name) for place, names in places for name in names}
    parts["projection_heads"] = _to_bytes(heads, path)
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
    """Reads the arguments of `Collection`."""
    parts, manifest = read_parts(path, _MAPPED, verify)
    fingerprint = model_fingerprint(model)
    if manifest["model"] != fingerprint:
        raise ValueError(
            f"{path} was built with another model, {manifest['model'][:12]}, than this one, "
            f"{fingerprint[:12]}: build it again"
        )
    _check_parts(path, parts, model.config)
    parts |= {name: Rows([parts[name]]) for name in _MAPPED if name in parts}
    images, texts, others = (
        {name: parts[name] for name in names if name in parts}
        for names in (_OF_IMAGES, _OF_TEXTS, _OTHERS)
    )
    try:
        return {
            "model": model,
            "heads": _from_bytes(parts["projection_heads"]),
            "encoded": EncodedDataset(
                images=ImageEncodings(**images),
                texts=CaptionEncodings(**texts),
                extraction=manifest.get("extraction"),
                **others,
            ),
            "image_folder": manifest["image_folder"],
            "run": manifest["run"],
        }
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}") from error


def run_of_collection(path: Path) -> str | None:
    """Reads which run's model a collection was built with."""
    _require(path)
    with open_hdf5(path) as file:
        return _read_manifest(file)["run"]


def write_parts(path: Path, parts: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Writes arrays, lists of strings and their manifest, to which checksums are added."""
    room = bytes_of(parts.values()) + len(json.dumps(manifest))
    with atomic_write(path) as draft, write_hdf5_file(draft, room) as file:
        checksums = {name: _write(file, name, values) for name, values in parts.items()}
        file.attrs["manifest"] = json.dumps({**manifest, "checksums": checksums})


def read_parts(
    path: Path, mapped: Names[str] = (), verify: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the parts and the manifest; only `verify` reads mapped parts for their checksums."""
    _require(path)
    # Both handles must be of the same file: another process may replace it between the two.
    with open(path, "rb") as raw, open_hdf5(path) as file:
        opened = os.fstat(file.id.get_vfd_handle())
        if not os.path.samestat(os.fstat(raw.fileno()), opened):
            raise DataError(f"{path} was replaced while it was opened: open it again")
        manifest = _read_manifest(file)
        parts = {}
        for name, checksum in manifest["checksums"].items():
            if name not in file:
                raise DataError(f"{path} lacks /{name}, which its manifest lists")
            values = _read(raw, dataset_at(file, name), name in mapped)
            if (verify or name not in mapped) and _checksum(values) != checksum:
                raise DataError(
                    f"{path}:/{name} is damaged: its checksum is not the one in the manifest"
                )
            parts[name] = values
    return parts, manifest


def _require(path: Path) -> None:
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")


def _read_manifest(file: h5py.File) -> dict[str, Any]:
    place = f"the manifest of {file.filename}"
    text = file.attrs.get("manifest")
    if not isinstance(text, str):
        raise DataError(f"{file.filename} has no manifest: it is not a collection")
    manifest = parse_object(text, place)
    if not isinstance(manifest.get("checksums"), dict):
        raise DataError(f"{place} has no checksums")
    if manifest.get("format") != _FORMAT:
        raise DataError(f"{file.filename} has format {manifest.get('format')}, expected {_FORMAT}")
    if not isinstance(manifest.get("model"), str):
        raise DataError(f"{place} names no model")
    for name in ("run", "image_folder"):
        if name not in manifest or not isinstance(manifest[name], str | None):
            raise DataError(f"{place} has {name} {manifest.get(name)!r}, expected a path or null")
    # Files that are older than `extract` have no extraction.
    if not isinstance(manifest.get("extraction"), dict | None):
        raise DataError(f"{place} has an extraction that is not an object")
    return manifest


def _write(file: h5py.File, name: str, values: Any) -> int:
    if isinstance(values, list):
        write_strings(file, name, values, "the collection")
        return _checksum(values)
    target = file.create_dataset(name, values.shape, values.dtype)
    checksum = 0
    for rows in _blocks(values):
        block = np.ascontiguousarray(values[rows])
        target[rows] = block
        checksum = zlib.crc32(block, checksum)
    return checksum


def _checksum(values: Any) -> int:
    checksum = 0
    if isinstance(values, list):
        for value in map(str.encode, values):
            # With the length, so that the border between two strings counts, too.
            checksum = zlib.crc32(b"%d:%s" % (len(value), value), checksum)
        return checksum
    for rows in _blocks(values):
        checksum = zlib.crc32(np.ascontiguousarray(values[rows]), checksum)
    return checksum


def _blocks(values: Any) -> list[slice]:
    row = max(1, int(np.prod(values.shape[1:])) * values.dtype.itemsize)
    size = max(1, _BLOCK_BYTES // row)
    return [slice(first, first + size) for first in range(0, len(values), size)]


def _read(file: BinaryIO, dataset: h5py.Dataset, mapped: bool) -> np.ndarray | list[str]:
    place = f"{file.name}:{dataset.name}"
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return read_strings(dataset, place, strip=False)
    offset = dataset.id.get_offset()
    if dataset.size and offset is None:
        raise DataError(f"{place} is chunked or compressed, expected contiguous rows")
    if not mapped or not dataset.size:
        return dataset[()]
    return np.memmap(file, dataset.dtype, "r", offset, dataset.shape)


def _check_parts(path: Path, parts: dict[str, Any], config: ModelConfig) -> None:
    """Compares the parts with each other: a foreign file can have the right checksums."""
    of_model = {"image_global": config.pools_regions, "text_global": config.global_alignment}
    optional = [name for name in _OPTIONAL if not of_model.get(name)]
    missing = [name for name in (*_TEXTS, *_ARRAYS) if name not in (*parts, *optional)]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: it is not a collection")
    sizes = {"width": config.joint_dim, "corners": 4}
    for name in _TEXTS:
        if not isinstance(parts[name], list):
            raise DataError(f"{path}:/{name} is {parts[name].dtype}, expected strings")
        sizes["images" if name == "ids" else name] = len(parts[name])
    for name, (axes, kind) in _ARRAYS.items():
        if name not in parts:
            continue
        values = parts[name]
        if isinstance(values, list):
            raise DataError(f"{path}:/{name} holds strings, expected numbers")
        expected = [sizes.get(axis, axis) for axis in axes]
        fits = len(values.shape) == len(axes) and values.dtype.kind == kind
        if not fits or any(
            sizes.setdefault(axis, length) != length
            for axis, length in zip(axes, values.shape, strict=True)
        ):
            raise DataError(
                f"{path}:/{name} is {values.dtype} of shape {values.shape}, expected {expected}"
            )
        if kind == "f" and name not in _MAPPED and not np.isfinite(values).all():
            row = np.argwhere(~np.isfinite(values))[0, 0]
            raise DataError(f"{path}:/{name}, row {row}: it holds NaN or infinity")
        if name == "lengths":
            wrong = values[(values < 0) | (values > config.max_tokens)]
            if wrong.size:
                raise DataError(
                    f"{path}:/lengths has a caption of {wrong[0]} words, expected 0 to "
                    f"{config.max_tokens}"
                )
            sizes["tokens"] = int(values.sum())


def _to_bytes(heads: ProjectionHeads, path: Path) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder, naming(path, Path(folder)):
        heads.save(Path(folder) / "projection_heads.keras")
        return np.fromfile(Path(folder) / "projection_heads.keras", np.uint8)


def _from_bytes(data: np.ndarray) -> ProjectionHeads:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "projection_heads.keras"
        with naming(file):
            data.tofile(file)
        try:
            return read_heads(file)
        except ValueError as error:
            raise ValueError(str(error).replace(str(file), "/projection_heads")) from error
