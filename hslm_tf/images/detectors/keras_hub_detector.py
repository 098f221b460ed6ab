"""Detectors of KerasHub."""

from collections.abc import Sequence

import keras
import numpy as np

from hslm_tf.extras import load_extra
from hslm_tf.images.backbones import weights_fingerprint
from hslm_tf.images.detections import Detections, cleaned
from hslm_tf.images.detectors.fitting import fitted

# The most confident boxes are kept in any case, so that few are ruled out here.
_LEAST_CONFIDENCE = 0.05


class KerasHubDetector:
    """Finds boxes with an object detector of KerasHub, such as RetinaNet or D-FINE.

    Args:
        preset: name or folder of the preset.

    Raises:
        OSError: if it is no preset of a detector, or cannot be loaded.
        ImportError: if KerasHub is not installed.
    """

    def __init__(self, preset: str) -> None:
        keras_hub = load_extra("keras_hub", "keras-hub")
        try:
            self._detector = keras_hub.models.ObjectDetector.from_preset(preset)
        # What is wrong with a preset or its download is told by any exception.
        except Exception as error:
            raise OSError(
                f"{preset} is no KerasHub preset of a detector that can be loaded: {error}"
            ) from error
        self._detector.prediction_decoder.confidence_threshold = _LEAST_CONFIDENCE
        self._converter = self._detector.preprocessor.image_converter
        self.fingerprint = weights_fingerprint(self._detector)

    def detect(self, images: Sequence[np.ndarray], ids: Sequence[str]) -> list[Detections]:
        """Finds boxes.

        Args:
            images: uint8 `[h, w, 3]` each.
            ids: their ids, not looked at.

        Returns:
            Boxes and scores of each, the most confident first.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        size = self._converter.image_size or self._detector.backbone.image_shape[:2]
        pixels, scale = fitted(image, *size, self._converter.pad_to_aspect_ratio)
        found = self._detector.predict(pixels[None], verbose=0)
        count = int(found["num_detections"][0])
        boxes = keras.utils.bounding_boxes.convert_format(
            found["boxes"][0, :count],
            source=self._detector.bounding_box_format,
            target="xyxy",
            height=size[0],
            width=size[1],
        )
        return cleaned(np.asarray(boxes) / scale, found["confidence"][0, :count])
