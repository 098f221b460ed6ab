"""Detectors of KerasHub."""

import numpy as np
import tensorflow as tf

from hslm_tf.command_line import load_extra
from hslm_tf.fingerprint import weights_fingerprint
from hslm_tf.images.backbones import defaults_of_keras
from hslm_tf.images.detections import Detections, cleaned, fitted

# Few boxes are ruled out here: the extractor keeps only the most confident.
_LEAST_CONFIDENCE = 0.05
# Side of a photograph where a preset takes any size.
_SIDE = 640


class KerasHubDetector:
    """Finds boxes with an object detector of KerasHub, such as RetinaNet or D-FINE."""

    def __init__(self, preset: str) -> None:
        keras_hub = load_extra("keras_hub", "keras-hub")
        try:
            with defaults_of_keras():
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
        # `fitted` resizes, so that it is known which part of the input is the photograph. Presets
        # that would cut off its sides, as those of D-FINE, get it stretched: so D-FINE was trained.
        self._converter.image_size = None
        # The weights serve any format of boxes. D-FINE returns this one whatever its preset says.
        self._detector.bounding_box_format = "yxyx"
        decoder = self._detector.prediction_decoder
        decoder.bounding_box_format = "yxyx"
        decoder.confidence_threshold = _LEAST_CONFIDENCE
        self.fingerprint = weights_fingerprint(self._detector.weights)
        self._predict = tf.function(self._predictions)

    def detect(self, image: np.ndarray, image_id: str) -> Detections:
        """Finds the boxes of a photograph."""
        keep_aspect = self._converter.pad_to_aspect_ratio
        pixels, scale = fitted(image, self._height, self._width, keep_aspect)
        predicted = self._predict(tf.constant(pixels[None]))
        count = int(predicted["num_detections"][0])
        boxes = predicted["boxes"][0, :count].numpy()[:, [1, 0, 3, 2]]
        return cleaned(boxes / scale, predicted["confidence"][0, :count].numpy())

    def _predictions(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        prepared = self._converter(tf.cast(pixels, tf.float32))
        return self._detector.decode_predictions(self._detector(prepared, training=False), prepared)
