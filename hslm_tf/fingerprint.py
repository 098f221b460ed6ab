"""Fingerprints of data sets, models, networks and this package's code: are two things the same?

Everybody asks here: provenance, kept results, evaluations that go on, collections, projection
heads, extractions, Beam. A fingerprint is 64 hexadecimal digits, or a record of them that can say
what differs.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hslm_tf.config import ModelConfig

if TYPE_CHECKING:
    from hslm_tf.data.dataset import RetrievalDataset
    from hslm_tf.models.hslm import HSLM

_PACKAGES = ("hslm_tf", "hslm_tf.layers", "hslm_tf.training")
_GIT_SECONDS = 3
_SAMPLED_IMAGES = 64


@dataclass(frozen=True)
class DataFingerprint:
    """Sizes and hashes of a split; equal for the same content in any format and folder."""

    images: int
    captions: int
    regions: int
    width: int
    dtype: str
    captions_sha256: str
    caption_to_image_sha256: str
    ids_sha256: str | None
    features_sha256: str

    @classmethod
    def of(cls, dataset: "RetrievalDataset") -> "DataFingerprint":
        """Reads the features of some images and hashes them with all captions."""
        most = min(_SAMPLED_IMAGES, dataset.num_images)
        sampled = np.linspace(0, dataset.num_images - 1, most).astype(np.int64)
        regions, mask = dataset.read_images(sampled)
        features = hashlib.sha256(np.ascontiguousarray(regions, "<f4"))
        features.update(np.ascontiguousarray(mask))
        ids = dataset.image_ids
        return cls(
            images=dataset.num_images,
            captions=dataset.num_captions,
            regions=dataset.max_regions,
            width=dataset.region_dim,
            dtype=np.dtype(dataset.region_features.dtype).name,
            captions_sha256=_sha256_of_texts(dataset.captions),
            caption_to_image_sha256=hashlib.sha256(
                np.ascontiguousarray(dataset.caption_to_image, "<i4")
            ).hexdigest(),
            ids_sha256=None if ids is None else _sha256_of_texts(ids),
            features_sha256=features.hexdigest(),
        )

    def digest(self) -> str:
        """The fingerprint as 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()

    def differences(self, earlier: "DataFingerprint") -> list[str]:
        """Says in what a split is not what it was."""
        found = [
            f"{now} {name} instead of {then}"
            for name, now, then in (
                ("images", self.images, earlier.images),
                ("captions", self.captions, earlier.captions),
                ("regions an image", self.regions, earlier.regions),
                ("columns of features", self.width, earlier.width),
                ("features", self.dtype, earlier.dtype),
            )
            if now != then
        ]
        if self.captions == earlier.captions:
            if self.captions_sha256 != earlier.captions_sha256:
                found.append("other captions")
            if self.caption_to_image_sha256 != earlier.caption_to_image_sha256:
                found.append("captions of other images")
        # A split with another number of images has other images read.
        if self.images == earlier.images:
            ids = {self.ids_sha256, earlier.ids_sha256} - {None}
            if len(ids) > 1:
                found.append("other ids")
            same_shape = (self.regions, self.width) == (earlier.regions, earlier.width)
            if same_shape and self.features_sha256 != earlier.features_sha256:
                found.append("other features")
        return found


def model_fingerprint(model: "HSLM") -> str:
    """Hash of everything that a score depends on: configuration, vocabulary, weights."""
    config = model.get_config()
    # A field at its default is left out, so that a field added later changes no fingerprint.
    default = dataclasses.asdict(ModelConfig())
    changed = {name: x for name, x in config["config"].items() if x != default[name]}
    parts = (model.image_encoder, model.text_encoder, model.matcher)
    settings = [changed, config["vocabulary"], config["dtype"]]
    if config["text_backbone"] is not None:
        settings.append(config["text_backbone"])
    return weights_fingerprint(
        (weight for part in parts for weight in part.weights), json.dumps(settings)
    )


def weights_fingerprint(weights: Iterable[Any], settings: str = "") -> str:
    """Hash of the weights of a network."""
    digest = hashlib.sha256(settings.encode())
    for weight in map(np.asarray, weights):
        digest.update(f"{weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class CodeFingerprint:
    """The state of the package's own source files."""

    sha256: str
    commit: str | None = None
    modified: bool | None = None

    @classmethod
    def now(cls) -> "CodeFingerprint":
        """Hashes the files and asks git, which need not be there."""
        folders = _folders()
        files = {
            f"{package.replace('.', '/')}/{file.relative_to(folder).as_posix()}": file
            for package, folder in folders.items()
            for file in folder.rglob("*.py")
        }
        digest = hashlib.sha256()
        for name, file in sorted(files.items()):
            for content in (name.encode(), file.read_bytes()):
                digest.update(len(content).to_bytes(8, "little") + content)
        return cls(digest.hexdigest(), *_git_state(list(folders.values())))

    def __str__(self) -> str:
        if self.commit is None:
            return "no commit"
        return f"commit {self.commit[:10]}" + (" with changes" if self.modified else "")

    def difference(self, earlier: "CodeFingerprint") -> str | None:
        """Says how the code is not what it was."""
        if self.sha256 == earlier.sha256:
            return None
        commits = "" if str(self) == str(earlier) else f" ({self} instead of {earlier})"
        return f"other source files of hslm_tf{commits}"


def _folders() -> dict[str, Path]:
    specs = {package: importlib.util.find_spec(package) for package in _PACKAGES}
    return {name: Path(spec.origin).parent for name, spec in specs.items()}


def _git_state(folders: list[Path]) -> tuple[str | None, bool | None]:
    # A package that is installed below a work tree, as in its .venv, does not belong to it.
    if _git(folders[0], "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return None, None
    status = _git(
        *(folders[0], "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--"),
        *map(str, folders),
    )
    if status is None:
        return None, None
    lines = status.splitlines()
    commit = next(line.split()[-1] for line in lines if line.startswith("# branch.oid "))
    return commit, not all(line.startswith("#") for line in lines)


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns the output of git; None where git is missing, fails or takes too long."""
    # These would name another work tree. The index is not written: others may be using it.
    others = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1"}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _sha256_of_texts(texts: Iterable[str]) -> str:
    """Hashes every text after its length: otherwise "ab" and "c" would be "a" and "bc"."""
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
