"""Detectors of KerasHub."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hslm_tf.extras import load_extra
from hslm_tf.fingerprint import weights_fingerprint
from hslm_tf.images.detections import Detections, cleaned
from hslm_tf.images.detectors.fitting import fitted

# The most confident boxes are kept in any case, so that few are ruled out here.
_LEAST_CONFIDENCE = 0.05
# Side of a photograph where a preset takes any size.
_SIDE = 640


class KerasHubDetector:
    """Finds boxes with an object detector of KerasHub, such as RetinaNet or D-FINE."""

    def __init__(self, preset: str) -> None:
        keras_hub = load_extra("keras_hub", "keras-hub")
        try:
            self._detector = keras_hub.models.ObjectDetector.from_preset(preset)
        # KerasHub raises anything where a preset or its download is wrong.
        except Exception as error:
            known = ", ".join(sorted(keras_hub.models.ObjectDetector.presets))
            raise OSError(
                f"{preset} is no KerasHub preset of a detector that can be loaded: "
                f"{' '.join(str(error).split())[:300]}; expected a folder with one, or {known}"
            ) from error
        self._converter = getattr(self._detector.preprocessor, "image_converter", None)
        if self._converter is None:
            raise OSError(
                f"{preset} does not say how pixels are prepared: it has no preprocessor.json"
            )
        fixed = self._detector.backbone.image_shape[:2]
        size = self._converter.image_size if None in fixed else fixed
        self._height, self._width = size or (_SIDE, _SIDE)
        # Photographs are resized here, where it is known what of the result is the photograph.
        self._converter.image_size = None
        # The weights serve any format of boxes. D-FINE's boxes have this one whatever it was made
        # with, and so would be taken for another.
        self._detector.bounding_box_format = "yxyx"
        decoder = self._detector.prediction_decoder
        decoder.bounding_box_format = "yxyx"
        decoder.confidence_threshold = _LEAST_CONFIDENCE
        self.fingerprint = weights_fingerprint(self._detector.weights)
        self._find = tf.function(self._found)

    def detect(self, images: Sequence[np.ndarray], ids: Sequence[str]) -> list[Detections]:
        """Finds boxes."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        keep_aspect = self._converter.pad_to_aspect_ratio
        pixels, scale = fitted(image, self._height, self._width, keep_aspect)
        found = self._find(tf.constant(pixels[None]))
        count = int(found["num_detections"][0])
        boxes = found["boxes"][0, :count].numpy()[:, [1, 0, 3, 2]]
        return cleaned(boxes / scale, found["confidence"][0, :count].numpy())

    def _found(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared = self._converter(tf.cast(pixels, tf.float32))
        return self._detector.decode_predictions(self._detector(prepared, training=False), prepared)
