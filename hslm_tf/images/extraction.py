"""Photographs become a split in the precomputed format, in pieces that can be continued."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hslm_tf.data.atomic_write import atomic_write, naming
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import read_object, write_object
from hslm_tf.data.npy import open_rows
from hslm_tf.data.precomputed import precomputed_paths
from hslm_tf.data.text_lines import write_captions, write_lines
from hslm_tf.images.decoding import decoded
from hslm_tf.images.extraction_config import check_same
from hslm_tf.images.extractor import RegionExtractor, RegionFeatures, extract_good
from hslm_tf.images.listing import Photograph
from hslm_tf.images.row_file import RowFile

# Photographs between two moments that can be continued from.
_BLOCK = 64


class Skipped(NamedTuple):
    """A photograph without features."""

    id: str
    reason: str


class Extraction:
    """Makes a split of photographs; what was interrupted continues."""

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
        self.files = {
            "ims": paths.pop("ims"),
            **paths,
            "skipped": target / f"{split}_skipped.txt",
        }
        self._staged = {part: self._work / path.name for part, path in self.files.items()}
        self._check_others()
        if self.files["ims"].exists() and not overwrite and not self._work.exists():
            raise DataError(f"{self.files['ims']} is there already: overwrite was not asked for")
        self._begin(overwrite)

    @property
    def skipped(self) -> list[Skipped]:
        """Photographs without features, so far."""
        return [Skipped(*pair) for pair in self._state["skipped"]]

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
        with naming(self._work):
            if not self._state["written"]:
                self._extract(advance)
                self._complete()
            self._move()

    def _begin(self, overwrite: bool) -> None:
        names = [[photograph.id, list(photograph.captions)] for photograph in self._photographs]
        plan = {
            "features": self._extractor.config.to_dict(),
            "dtype": self._dtype.name,
            "photographs": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        }
        if self._work.is_symlink():
            raise DataError(f"{self._work} is a link, expected a folder that was begun, or none")
        file = self._work / "plan.json"
        if file.exists():
            if read_object(file) != plan:
                if not overwrite:
                    raise DataError(
                        f"{file}: begun with other photographs or settings: go on with the same, "
                        "or replace what was begun (overwrite)"
                    )
                shutil.rmtree(self._work)
        self._work.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _write(file, plan)
        self._state = _read_state(self._work / "state.json")

    def _check_others(self) -> None:
        for file in sorted(self._target.glob("?*_features.json")):
            if file != self.files["features"]:
                mine = self._extractor.config.to_dict()
                check_same(mine, read_object(file), f"the split {self.split}", str(file))

    def _extract(self, advance: Callable[[int], object]) -> None:
        extractor, rows = self._extractor, self._state["rows"]
        regions, staged = extractor.max_regions, self._staged
        files = [
            RowFile(staged[part], shape, dtype, rows)
            for part, shape, dtype in (
                ("ims", (regions, extractor.region_dim), self._dtype),
                ("boxes", (regions, 4), np.dtype(np.float32)),
                ("num_regions", (), np.dtype(np.int32)),
            )
        ]
        left = self._photographs[self.done :]
        images = decoded(left, _BLOCK)
        while block := left[:_BLOCK]:
            left = left[_BLOCK:]
            features, reasons = self._features(block, list(islice(images, len(block))))
            self._check_size(features.region_features)
            for file, part in zip(files, features, strict=True):
                file.append(part)
            self._state["skipped"] += [
                [block[place].id, reason] for place, reason in sorted(reasons.items())
            ]
            self._state["photographs"] += len(block)
            self._state["rows"] = files[0].rows
            self._save_state()
            advance(len(block))
        for file in files:
            file.close()

    def _check_size(self, features: np.ndarray) -> None:
        largest = np.abs(features).max(initial=0)
        if largest > np.finfo(self._dtype).max:
            raise DataError(
                f"{self._extractor.config.backbone} makes features as large as {largest:g}, which "
                f"{self._dtype} cannot hold: begin anew with float32"
            )

    def _features(
        self, block: Sequence[Photograph], images: Sequence[tuple[np.ndarray, str]]
    ) -> tuple[RegionFeatures, dict[int, str]]:
        """Features of the good ones, and why the others have none."""
        reasons = {place: reason for place, (_, reason) in enumerate(images) if reason}
        good = [place for place in range(len(block)) if place not in reasons]
        features, bad = extract_good(
            self._extractor, [images[place][0] for place in good], [block[p].id for p in good]
        )
        reasons |= {good[place]: reason for place, reason in bad.items()}
        return features, reasons

    def _complete(self) -> None:
        """Writes what belongs to the features."""
        skipped = {name for name, _ in self._state["skipped"]}
        kept = [photograph for photograph in self._photographs if photograph.id not in skipped]
        if not kept:
            first = self.skipped[0]
            raise DataError(f"no photograph has features; {first.id}: {first.reason}")
        paths = self._staged
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
        if self.skipped:
            lines = [f"{name}\t{' '.join(reason.split())}" for name, reason in self.skipped]
            write_lines(paths["skipped"], lines)
        self._state["written"] = [part for part, path in paths.items() if path.exists()]
        self._save_state()

    def _move(self) -> None:
        # A split is there when its features are: those of an older one go first, the new come last.
        if self._staged["ims"].exists():
            self.files["ims"].unlink(missing_ok=True)
        for part in reversed(self.files):
            if self._staged[part].exists():
                os.replace(self._staged[part], self.files[part])
            elif part not in self._state["written"]:
                self.files[part].unlink(missing_ok=True)
        shutil.rmtree(self._work)

    def _save_state(self) -> None:
        _write(self._work / "state.json", self._state)


def _read_state(path: Path) -> dict[str, Any]:
    """What was done before, or that it is nothing."""
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
        raise DataError(f"{path} is damaged: replace what was begun (overwrite), or remove it")
    return state


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(path) as draft:
        write_object(draft, content)
