"""Photographs become a split in the precomputed format. An interrupted extraction continues."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from hslm_tf.data.atomic_write import atomic_write, locked, naming
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.data.npy import open_rows
from hslm_tf.data.precomputed import precomputed_paths, take_places
from hslm_tf.data.regular_file import read_file
from hslm_tf.data.text_lines import write_captions, write_lines
from hslm_tf.images.extraction_config import check_same
from hslm_tf.images.extractor import RegionExtractor, RegionFeatures, extract_good
from hslm_tf.images.listing import Photograph
from hslm_tf.images.photographs import ImageError, decode_photograph
from hslm_tf.images.row_file import RowFile

# Photographs between two states that are saved.
_BLOCK = 64


class Extraction:
    """Extracts one split into a hidden folder and moves its files to their places at the end."""

    def __init__(
        self,
        photographs: Sequence[Photograph],
        split: str,
        target: Path,
        extractor: RegionExtractor,
        dtype: np.dtype | str = "float32",
        overwrite: bool = False,
    ) -> None:
        self._photographs, self.split, self._extractor = photographs, split, extractor
        self._target, self._work = target, target / f".partial-{split}"
        self._dtype = np.dtype(dtype)
        paths = precomputed_paths(target, split)
        # The region features come first, and `_move` goes backwards.
        self.files = {
            "ims": paths.pop("ims"),
            **paths,
            "skipped": target / f"{split}_skipped.txt",
        }
        self._drafts = {part: self._work / path.name for part, path in self.files.items()}
        self._check_other_splits()
        if self.files["ims"].exists() and not overwrite and not self._work.exists():
            raise DataError(f"{self.files['ims']} exists already: overwrite replaces it")
        self._open_work(overwrite)

    @property
    def skipped(self) -> dict[str, str]:
        """The reasons of the photographs that have no features so far, by their ids."""
        return dict(self._state["skipped"])

    @property
    def total(self) -> int:
        """Photographs of the split."""
        return len(self._photographs)

    @property
    def done(self) -> int:
        """Photographs that are done, with features or without."""
        return self._state["photographs"]

    def run(self, advance: Callable[[int], object] = lambda count: None) -> None:
        """Extracts what is left and moves the split to its place."""
        with self._lock, naming(self.files["ims"], self._work):
            if not self._state["written"]:
                self._extract(advance)
                self._complete()
            self._move()

    def _check_other_splits(self) -> None:
        for file in sorted(self._target.glob("?*_features.json")):
            if file != self.files["features"]:
                settings = self._extractor.config.to_dict()
                check_same(settings, read_object(file), f"the split {self.split}", str(file))

    def _open_work(self, overwrite: bool) -> None:
        names = [[photograph.id, list(photograph.captions)] for photograph in self._photographs]
        plan = {
            "features": self._extractor.config.to_dict(),
            "dtype": self._dtype.name,
            "photographs": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        }
        if self._work.is_symlink():
            raise DataError(f"{self._work} is a link, expected a folder of work, or none")
        self._work.mkdir(parents=True, exist_ok=True)
        file = self._work / "plan.json"
        with ExitStack() as stack:
            # Until the split is moved to its place, or this process ends.
            stack.enter_context(locked(self._work, f"{self._work}: another process works in it"))
            if file.exists() and read_object(file) != plan:
                if not overwrite:
                    raise DataError(
                        f"{file}: the extraction was started with other photographs or settings: "
                        "continue with the same, or replace it (overwrite)"
                    )
                for path in self._work.iterdir():
                    path.unlink()
            if not file.exists():
                _write(file, plan)
            self._state = _read_state(self._work / "state.json")
            self._lock = stack.pop_all()

    def _extract(self, advance: Callable[[int], object]) -> None:
        extractor, state = self._extractor, self._state
        regions = extractor.max_regions
        files = [
            RowFile(self._drafts[part], shape, dtype, state["rows"])
            for part, shape, dtype in (
                ("ims", (regions, extractor.region_dim), self._dtype),
                ("boxes", (regions, 4), np.dtype(np.float32)),
                ("num_regions", (), np.dtype(np.int32)),
            )
        ]
        left = self._photographs[self.done :]
        images = _decoded(left)
        for start in range(0, len(left), _BLOCK):
            block = left[start : start + _BLOCK]
            features, reasons = self._features(block, list(islice(images, len(block))))
            self._check_size(features.region_features)
            for file, part in zip(files, features, strict=True):
                file.append(part)
            state["skipped"] += [[block[row].id, reasons[row]] for row in sorted(reasons)]
            state["photographs"] += len(block)
            state["rows"] = files[0].rows
            self._save_state()
            advance(len(block))
        for file in files:
            file.close()

    def _features(
        self, block: Sequence[Photograph], images: Sequence[tuple[np.ndarray, str]]
    ) -> tuple[RegionFeatures, dict[int, str]]:
        """Features of the good photographs, and by row why the others have none."""
        reasons = {row: reason for row, (_, reason) in enumerate(images) if reason}
        good = [row for row in range(len(block)) if row not in reasons]
        features, bad = extract_good(
            self._extractor, [images[row][0] for row in good], [block[row].id for row in good]
        )
        return features, reasons | {good[row]: reason for row, reason in bad.items()}

    def _check_size(self, features: np.ndarray) -> None:
        largest = np.abs(features).max(initial=0)
        if largest > np.finfo(self._dtype).max:
            raise DataError(
                f"{self._extractor.config.backbone} makes features as large as {largest:g}, which "
                f"{self._dtype} cannot hold: start again with float32"
            )

    def _complete(self) -> None:
        """Writes the files beside the features."""
        skipped = self.skipped
        kept = [photograph for photograph in self._photographs if photograph.id not in skipped]
        if not kept:
            name, reason = next(iter(skipped.items()))
            raise DataError(f"no photograph has features; {name}: {reason}")
        paths = self._drafts
        counts = [len(photograph.captions) for photograph in kept]
        dataset = RetrievalDataset(
            name=self.split,
            source=str(paths["ims"]),
            region_features=open_rows(paths["ims"]),
            captions=[caption for photograph in kept for caption in photograph.captions],
            caption_to_image=np.repeat(np.arange(len(kept), dtype=np.int32), counts),
            image_ids=[photograph.id for photograph in kept],
        )
        write_captions(dataset, paths["caps"], paths["ids"])
        write_object(paths["features"], self._extractor.config.to_dict())
        if skipped:
            lines = [f"{name}\t{' '.join(reason.split())}" for name, reason in skipped.items()]
            write_lines(paths["skipped"], lines)
        self._state["written"] = [part for part, path in paths.items() if path.exists()]
        self._save_state()

    def _move(self) -> None:
        names = {part: path.name for part, path in self.files.items()}
        written = [names[part] for part in self._state["written"]]
        take_places(self._work, self._target, [*names.values()], written)
        shutil.rmtree(self._work)

    def _save_state(self) -> None:
        _write(self._work / "state.json", self._state)


def _decoded(photographs: Sequence[Photograph]) -> Iterator[tuple[np.ndarray, str]]:
    """Pixels and an empty reason, or no pixels and why not; decoded ahead on all cores."""
    paths = tf.constant([os.fsencode(photograph.path) for photograph in photographs], tf.string)

    def read(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.numpy_function(_decode, [path], [tf.uint8, tf.string])

    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(read, tf.data.AUTOTUNE, deterministic=True).prefetch(_BLOCK)
    for image, reason in dataset.as_numpy_iterator():
        yield image, reason.decode()


def _decode(path: bytes) -> tuple[np.ndarray, bytes]:
    try:
        return decode_photograph(read_file(os.fsdecode(path))), b""
    except (ImageError, DataError) as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    return np.zeros((0, 0, 3), np.uint8), reason.encode()


def _read_state(path: Path) -> dict[str, Any]:
    """The state that was saved, or an empty one."""
    empty: dict[str, Any] = {"photographs": 0, "rows": 0, "skipped": [], "written": []}
    if not path.exists():
        return empty
    state = read_object(path)
    done, rows, skipped = (state.get(name) for name in ("photographs", "rows", "skipped"))
    if (
        set(state) != set(empty)
        or not all(isinstance(state[name], list) for name in ("skipped", "written"))
        or not all(isinstance(pair, list) and [*map(type, pair)] == [str, str] for pair in skipped)
        or not (type(done) is type(rows) is int and 0 <= rows == done - len(skipped))
    ):
        raise DataError(f"{path} is damaged: start again (overwrite), or remove it")
    return state


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(path) as draft:
        write_object(draft, content)
