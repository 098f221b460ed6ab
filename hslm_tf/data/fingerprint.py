"""Tells quickly whether a split is the one that it was."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset

_SAMPLED_IMAGES = 64


@dataclass(frozen=True)
class DataFingerprint:
    """Sizes and hashes of a split; equal for the same content in any format and folder.

    Captions, their order, their images and all ids are hashed whole. Of the region features, up to
    64 images are read, evenly spread from the first to the last. So this misses features that
    changed in other images only (of 29,000 images, a change to a single one is seen with a chance
    of 0.2%; features made anew, or in another order, are seen), and boxes.

    Args:
        images: number of images.
        captions: number of captions.
        regions: regions of an image, padding included.
        width: width of a region feature.
        dtype: type of the features where they lie, such as `float16`.
        captions_sha256: hash of the captions.
        caption_to_image_sha256: hash of the image of every caption.
        ids_sha256: hash of the image ids; None where there are none, which fits all ids.
        features_sha256: hash of the features of some images, as float32, and of which are real.
    """

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
    def of(cls, dataset: RetrievalDataset) -> "DataFingerprint":
        """Reads the features of some images and hashes them with all captions.

        Args:
            dataset: the split.

        Returns:
            The fingerprint.

        Raises:
            DataError: if features cannot be read or are not finite.
        """
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

    def differences(self, earlier: "DataFingerprint") -> list[str]:
        """Says in what a split is not what it was.

        Args:
            earlier: its fingerprint then.

        Returns:
            Such as "59 captions instead of 60"; empty if it is the same.
        """
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


def _sha256_of_texts(texts: Iterable[str]) -> str:
    """Hashes every text after its length: otherwise "ab" and "c" would be "a" and "bc"."""
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
