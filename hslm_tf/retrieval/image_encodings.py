"""Local features of many images, encoded once and kept in float16 or float32."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.models.encoding import IMAGE_BLOCK_SIZE, encoded_blocks
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import ProjectionHeads
from hslm_tf.retrieval.rows import Rows
from hslm_tf.retrieval.storage import (
    StorageType,
    allocate,
    global_features,
    to_float32,
    to_storage,
)


@dataclass(frozen=True)
class ImageEncodings:
    """What `HSLM.encode_image` gave for n images.

    Args:
        regions: `[n, N, d]`, float16 or float32.
        region_mask: bool `[n, N]`.
        image_global: `[n, d]`, the global vectors of a model that pools the regions, else None.
    """

    regions: Rows
    region_mask: np.ndarray
    image_global: Rows | None = None

    @classmethod
    def encode(
        cls,
        model: HSLM,
        dataset: RetrievalDataset,
        images: np.ndarray | None = None,
        dtype: StorageType = "float16",
        progress: Callable[[int], None] | None = None,
        memmap_dir: Path | None = None,
    ) -> "ImageEncodings":
        """Encodes images of a dataset.

        Args:
            model: the model.
            dataset: the images.
            images: int `[n]`, which ones; None for all.
            dtype: type that the features are kept in.
            progress: called with the number of images after every batch.
            memmap_dir: folder for a temporary file that the features are kept in; None for memory.

        Returns:
            The encodings.

        Raises:
            DataError: if region features are not finite.
            ValueError: if a local feature does not fit the type.
        """
        count, width = dataset.num_images if images is None else len(images), model.config.joint_dim
        # Filled block by block: blocks that are joined at the end would be in memory twice.
        regions = allocate((count, dataset.max_regions, width), dtype, memmap_dir)
        mask = np.empty(regions.shape[:2], bool)
        with_global = "image_global" in model.image_encoder.output
        image_global = np.empty((count, width), dtype) if with_global else None
        for rows, encoding in encoded_blocks(model, dataset, images):
            regions[rows], mask[rows] = (
                to_storage(encoding["regions"], dtype),
                encoding["region_mask"],
            )
            if with_global:
                image_global[rows] = to_storage(encoding["image_global"], dtype)
            if progress is not None:
                progress(len(rows))
        return cls(Rows([regions]), mask, Rows([image_global]) if with_global else None)

    @classmethod
    def from_encoding(
        cls, encoding: Mapping[str, Any], dtype: StorageType = "float16"
    ) -> "ImageEncodings":
        """Takes in what was encoded already.

        Args:
            encoding: as `HSLM.encode_image` returns; tensors or arrays.
            dtype: type that the features are kept in.

        Returns:
            The encodings.

        Raises:
            ValueError: if shapes do not fit, or a local feature does not fit the type.
        """
        regions, mask = np.asarray(encoding["regions"]), np.asarray(encoding["region_mask"], bool)
        if regions.ndim != 3 or mask.shape != regions.shape[:2]:
            raise ValueError(
                "`regions` must be [images, regions, width] and `region_mask` [images, regions]. "
                f"Received: regions.shape={regions.shape}, region_mask.shape={mask.shape}"
            )
        image_global = global_features(encoding, "image_global", len(mask), dtype)
        return cls(Rows([to_storage(regions, dtype)]), mask, image_global)

    def __len__(self) -> int:
        return len(self.region_mask)

    def read(self, rows: np.ndarray) -> dict[str, tf.Tensor]:
        """Encodings of some images, as `HSLM.score_encoded` takes them.

        Args:
            rows: int `[b]`.

        Returns:
            As `HSLM.encode_image`, float32.
        """
        encoding = {
            "regions": to_float32(self.regions[rows]),
            "region_mask": tf.constant(self.region_mask[rows]),
        }
        if self.image_global is not None:
            encoding["image_global"] = to_float32(self.image_global[rows])
        return encoding

    def vectors(self, heads: ProjectionHeads) -> np.ndarray:
        """Projected vectors of all images.

        Args:
            heads: the projection heads.

        Returns:
            Float32 `[n, dim]`.
        """
        found = [
            heads.image_vectors(self.read(rows)) for rows in row_blocks(len(self), IMAGE_BLOCK_SIZE)
        ]
        return np.concatenate(found)

    def select(self, rows: np.ndarray) -> "ImageEncodings":
        """Keeps some images.

        Args:
            rows: int `[b]`.

        Returns:
            Their encodings.
        """
        image_global = None if self.image_global is None else self.image_global.select(rows)
        return ImageEncodings(self.regions.select(rows), self.region_mask[rows], image_global)

    def append(self, other: "ImageEncodings") -> "ImageEncodings":
        """Puts other images behind these.

        Args:
            other: encodings by the same model, as wide, in the same type.

        Returns:
            The encodings of all.
        """
        return ImageEncodings(
            self.regions.append(other.regions),
            np.concatenate([self.region_mask, other.region_mask]),
            None if self.image_global is None else self.image_global.append(other.image_global),
        )
