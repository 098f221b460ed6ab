"""What a search found, with what the model looked at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf.images.extractor import RegionFeatures
from hslm_tf.report.explanation import Explanation, explainer_of
from hslm_tf.report.gallery import Answer
from hslm_tf.retrieval.collection import Collection
from hslm_tf.retrieval.reranking import Hit


class FoundAnswers:
    """Explains what was found in a collection, for a gallery."""

    def __init__(self, collection: Collection) -> None:
        self._model = model = collection.model
        self._encoded = collection.encoded
        self._explainer = explainer_of(model)

    def images(self, caption: str, hits: Sequence[Hit]) -> list[Answer]:
        """Explains images that were found for a caption."""
        captions, owners = self._encoded.captions, self._encoded.caption_to_image
        right = {int(owners[row]) for row, own in enumerate(captions) if own == caption}
        return [
            self._answer(hit.row, caption, hit.score, hit.row in right if right else None)
            for hit in hits
        ]

    def captions(self, image_id: str, hits: Sequence[Hit]) -> list[Answer]:
        """Explains captions that were found for an image."""
        image = int(self._encoded.rows_of([image_id])[0])
        answers = []
        for hit in hits:
            owner = int(self._encoded.caption_to_image[hit.row])
            answer = self._answer(image, hit.item, hit.score, owner == image)
            other = None if owner == image else self._encoded.ids[owner]
            answers.append(answer._replace(owner=other))
        return answers

    def captions_of_photograph(
        self, file: Path, features: RegionFeatures, hits: Sequence[Hit]
    ) -> list[Answer]:
        """Explains captions that were found for a photograph that is not in the collection."""
        image = self._model.encode_image(features.region_features, features.mask)
        owners = self._encoded.caption_to_image
        return [
            Answer(
                file.name,
                hit.item,
                hit.score,
                self._explained(image, hit.item),
                features.boxes[0],
                owner=self._encoded.ids[owners[hit.row]],
                file=file,
            )
            for hit in hits
        ]

    def _explained(self, image: Mapping[str, Any], caption: str) -> Explanation | None:
        return None if self._explainer is None else self._explainer.explain(image, caption)

    def _answer(self, image: int, caption: str, score: float, right: bool | None) -> Answer:
        row = np.array([image])
        explanation = self._explained(self._encoded.images.read(row), caption)
        boxes = None if self._encoded.boxes is None else self._encoded.boxes[row][0]
        return Answer(self._encoded.ids[image], caption, score, explanation, boxes, right)
