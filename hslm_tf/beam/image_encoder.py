"""An exported model for Beam's `RunInference`: region features in, encoded regions out."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from hslm_tf.beam.elements import ImageFeatures
from hslm_tf.beam.files import copy_folder, is_local
from hslm_tf.data.blocks import row_blocks
from hslm_tf.serving.status import ALL_REGIONS

_ENDPOINT = "encode_image"
_IMAGES_A_CALL = 100


class ImageEncoder(ModelHandler[ImageFeatures, PredictionResult, Any]):
    """Encodes images with the endpoint `encode_image` of an exported model.

    An example holds one or more images, and its prediction holds as many: arrays `"regions"`
    `[n, N, d]`, `"region_mask"` `[n, N]`, `"vector"` `[n, k]`, `"status"` `[n]` and, of a model
    that pools the regions, `"image_global"` `[n, d]`. An image's status says what is wrong with it
    (`hslm_tf.serving.status`); it fails neither its batch nor the pipeline.

    Args:
        model: folder of a version of the exported model, a path or an address such as `gs://...`;
            every worker must be able to read it.
        max_batch_size: most examples that Beam hands over at once.

    Example:
        >>> encoder = ImageEncoder("served/hslm/1")
        >>> encoded = features | RunInference(encoder)
    """

    def __init__(self, model: str, max_batch_size: int = 100) -> None:
        super().__init__()
        self._path, self._max_batch_size = model, max_batch_size

    def load_model(self) -> Any:
        """Loads the SavedModel.

        Returns:
            What `tf.saved_model.load` returns.

        Raises:
            OSError: if there is no SavedModel.
            ValueError: if it has no endpoint that encodes images.
        """
        import tensorflow as tf

        if is_local(self._path):
            model = tf.saved_model.load(self._path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                copy_folder(self._path, folder)
                model = tf.saved_model.load(folder)
        if _ENDPOINT not in model.signatures:
            raise ValueError(f"{self._path} is no exported model: it has no endpoint {_ENDPOINT}")
        return model

    def run_inference(
        self,
        batch: Sequence[ImageFeatures],
        model: Any,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Encodes the images of all examples of a batch.

        Args:
            batch: the examples; they may have different numbers of images and of regions.
            model: the loaded model.
            inference_args: ignored.

        Returns:
            A prediction for every example, with as many regions as the example has.

        Raises:
            ValueError: if features have more regions or another width than the model's.
        """
        endpoint = model.signatures[_ENDPOINT]
        shape = endpoint.structured_input_signature[1]["region_features"].shape
        padded = [_padded(example, *shape[1:]) for example in batch]
        # One example may be a whole shard: it is not copied.
        features = np.concatenate(padded) if len(padded) > 1 else padded[0]
        counts = np.concatenate([_counts(example, shape[1]) for example in batch])
        answers = {
            name: np.zeros((len(features), *spec.shape[1:]), spec.dtype.as_numpy_dtype)
            for name, spec in endpoint.structured_outputs.items()
        }
        for rows in row_blocks(len(features), _IMAGES_A_CALL):
            found = _call(endpoint, features[rows], counts[rows])
            for name, values in found.items():
                answers[name][rows] = values
        ends = np.cumsum([len(example.num_regions) for example in batch])
        for example, end in zip(batch, ends, strict=True):
            images = slice(end - len(example.num_regions), end)
            own = {name: values[images] for name, values in answers.items()}
            for name in ("regions", "region_mask"):
                own[name] = own[name][:, : example.region_features.shape[1]]
            yield PredictionResult(example, own, self._path)

    def get_num_bytes(self, batch: Sequence[ImageFeatures]) -> int:
        """Size of a batch.

        Args:
            batch: the examples.

        Returns:
            Bytes of their features.
        """
        return sum(example.region_features.nbytes for example in batch)

    def get_metrics_namespace(self) -> str:
        """Returns the name under which Beam counts what is encoded."""
        return "hslm_tf"

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Returns how Beam makes batches."""
        return {"max_batch_size": self._max_batch_size}


def _call(endpoint: Any, features: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    import tensorflow as tf

    inputs = {"region_features": tf.constant(features), "num_regions": tf.constant(counts)}
    return {name: values.numpy() for name, values in endpoint(**inputs).items()}


def _padded(example: ImageFeatures, max_regions: int, region_dim: int) -> np.ndarray:
    features = np.asarray(example.region_features, np.float32)
    missing = max_regions - features.shape[1] if features.ndim == 3 else -1
    if missing < 0 or features.shape[2] != region_dim:
        raise ValueError(
            f"The model takes features [n, at most {max_regions}, {region_dim}]. "
            f"Received: region_features.shape={features.shape}"
        )
    return np.pad(features, ((0, 0), (0, missing), (0, 0))) if missing else features


def _counts(example: ImageFeatures, max_regions: int) -> np.ndarray:
    """What the endpoint is told: padding that is added here is never real."""
    counts, own = np.asarray(example.num_regions, np.int32), example.region_features.shape[1]
    counts = np.where(counts == ALL_REGIONS, np.int32(own), counts)
    return np.where(counts > own, np.int32(max_regions + 1), counts)
