"""An exported model for Beam's `RunInference`: region features in, encoded regions out."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from hslm_tf.beam.elements import ImageFeatures
from hslm_tf.beam.files import copy_folder, file_sizes, is_local
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import regular_file
from hslm_tf.serving.request_rows import pad_images

_ENDPOINT = "encode_image"
_IMAGES_A_CALL = 100


class ImageEncoder(ModelHandler[ImageFeatures, PredictionResult, Any]):
    """Encodes images with the endpoint `encode_image` of an exported model.

    An example holds one or more images, and its prediction holds as many: arrays `"regions"`
    `[n, N, d]`, `"region_mask"` `[n, N]`, `"vector"` `[n, k]`, `"status"` `[n]` and, of a model
    that pools the regions, `"image_global"` `[n, d]`. An image's status says what is wrong with it
    (`hslm_tf.serving.request_rows`); it fails neither its batch nor the pipeline.

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
        """Loads the SavedModel, or raises an error if there is none that encodes images."""
        if is_local(self._path):
            for file in file_sizes(self._path):
                regular_file(file)
            model = self._loaded(self._path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                copy_folder(self._path, folder)
                model = self._loaded(folder)
        if _ENDPOINT not in model.signatures:
            raise ValueError(
                f"{self._path} is not an exported model: it has no endpoint {_ENDPOINT}"
            )
        return model

    def _loaded(self, folder: str) -> Any:
        import tensorflow as tf

        try:
            return tf.saved_model.load(folder)
        # TensorFlow and its protocol buffers raise anything on a damaged file.
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"{self._path} is no exported model: {reason}") from error

    def run_inference(
        self,
        batch: Sequence[ImageFeatures],
        model: Any,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Predicts the examples of a batch, which may differ in numbers of images and regions."""
        import tensorflow as tf

        endpoint = model.signatures[_ENDPOINT]
        _, *shape = endpoint.structured_input_signature[1]["region_features"].shape
        padded = [pad_images(*example, *shape) for example in batch]
        # One example may be a whole shard: it is not copied.
        features, counts = (
            padded[0] if len(padded) == 1 else map(np.concatenate, zip(*padded, strict=True))
        )
        answers = {
            name: np.zeros((len(features), *spec.shape[1:]), spec.dtype.as_numpy_dtype)
            for name, spec in endpoint.structured_outputs.items()
        }
        for rows in row_blocks(len(features), _IMAGES_A_CALL):
            inputs = {
                "region_features": tf.constant(features[rows]),
                "num_regions": tf.constant(counts[rows]),
            }
            for name, values in endpoint(**inputs).items():
                answers[name][rows] = values.numpy()
        end = 0
        for example in batch:
            first, end = end, end + len(example.num_regions)
            prediction = {name: values[first:end] for name, values in answers.items()}
            for name in ("regions", "region_mask"):
                prediction[name] = prediction[name][:, : example.region_features.shape[1]]
            yield PredictionResult(example, prediction, self._path)

    def get_num_bytes(self, batch: Sequence[ImageFeatures]) -> int:
        """Returns how many bytes the features of a batch take."""
        return sum(example.region_features.nbytes for example in batch)

    def get_metrics_namespace(self) -> str:
        """Returns the name under which Beam counts what is encoded."""
        return "hslm_tf"

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Returns how Beam makes batches."""
        return {"max_batch_size": self._max_batch_size}
