"""The folder that a pipeline works in: its plan, the exported model, and the shards."""

import dataclasses
import json
import re
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems

from hslm_tf.beam.elements import Shard, shards_of
from hslm_tf.beam.files import (
    copy_folder,
    file_sizes,
    is_local,
    read_file,
    remove_drafts,
    write_file,
)
from hslm_tf.data.atomic_write import locked
from hslm_tf.data.errors import DataError
from hslm_tf.data.json_object import parse_object
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.serving.savedmodel import export_model

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that the content of the shards depends on."""

    source: dict[str, Any]
    images: int
    regions: int
    shard_size: int
    dtype: str
    # Fingerprint of the model and its projection heads.
    model: str

    @property
    def shards(self) -> list[Shard]:
        """All shards, in order."""
        return shards_of(self.images, self.shard_size)


class WorkFolder:
    """A folder whose work can be continued."""

    def __init__(self, path: str) -> None:
        # Beam lists files by patterns, and TensorFlow looks for a model's weights by one.
        if re.search(r"[*?\[\]{}\\]", path):
            raise ValueError(
                f"A folder to work in has none of * ? [ ] {{ }} \\. Received: {path!r}"
            )
        self.path = path.rstrip("/")
        self.model = FileSystems.join(self.path, "model", "1")
        self.shards = FileSystems.join(self.path, "shards")
        self.rejected = FileSystems.join(self.path, "rejected.jsonl")

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from the folder; where it is an address, nothing can."""
        if not is_local(self.path):
            return nullcontext()
        Path(self.path).mkdir(parents=True, exist_ok=True)
        return locked(Path(self.path), f"{self.path}: another process works in it")

    def begin(self, plan: Plan, model: HSLM, heads: ProjectionHeads) -> list[Shard]:
        """Writes the plan and exports the model, or continues a begun plan; returns what to do."""
        file = FileSystems.join(self.path, "plan.json")
        content = {"format": _FORMAT, **dataclasses.asdict(plan)}
        if FileSystems.exists(file):
            check_plan(file, content)
            remove_drafts(self.path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                exported = export_model(model, Path(folder), heads=heads)
                copy_folder(str(exported), self.model)
            # The plan comes last: where it is, the model is complete.
            write_file(file, (json.dumps(content, indent=1) + "\n").encode())
        return self.missing(plan)

    def missing(self, plan: Plan) -> list[Shard]:
        """The shards that are not finished; a file that is there is complete."""
        finished = file_sizes(self.shards)
        return [shard for shard in plan.shards if self.file_of(shard) not in finished]

    def file_of(self, shard: Shard) -> str:
        """Names the file of a shard."""
        return FileSystems.join(self.shards, shard.file_name)


def check_plan(file: str, expected: dict[str, Any]) -> None:
    """Checks that a folder was begun with the same plan."""
    begun = parse_object(read_file(file), file)
    for name in expected:
        if begun.get(name) != expected[name]:
            raise DataError(
                f"{file}: begun with {name} {begun.get(name)!r}, not {expected[name]!r}: continue "
                "with the same, or choose another folder"
            )
