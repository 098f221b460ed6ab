"""Elements of the pipelines."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Shard:
    """The images `first` to `last - 1`, which are encoded together and written to one file."""

    number: int
    count: int
    first: int
    last: int

    @property
    def file_name(self) -> str:
        """Name of the shard's file."""
        return f"shard-{self.number:05d}-of-{self.count:05d}.npz"


class Rejected(NamedTuple):
    """An image that is not encoded, and why: an element of the dead-letter output."""

    row: int
    id: str
    reason: str


class ImageFeatures(NamedTuple):
    """Region features of images.

    Attributes:
        region_features: float32 `[n, N, F]`.
        num_regions: int32 `[n]`, how many of the N are real; -1 for all.
    """

    region_features: np.ndarray
    num_regions: np.ndarray


class ShardItems(NamedTuple):
    """Everything about a shard's images but their features; `rows` are those in the source."""

    shard: Shard
    rows: np.ndarray
    ids: list[str]
    boxes: np.ndarray | None
    rejected: list[Rejected]


def shards_of(images: int, shard_size: int) -> list[Shard]:
    """Divides images into shards.

    Args:
        images: number of images.
        shard_size: images of a shard; the last may have fewer.

    Returns:
        The shards, in order.

    Raises:
        ValueError: if a number is less than 1.
    """
    if images < 1 or shard_size < 1:
        raise ValueError(
            "There is at least one image, and one in a shard. "
            f"Received: images={images}, shard_size={shard_size}"
        )
    firsts = range(0, images, shard_size)
    return [
        Shard(number, len(firsts), first, min(first + shard_size, images))
        for number, first in enumerate(firsts)
    ]
