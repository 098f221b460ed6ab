"""What a model retrieves, right and wrong, as in the paper's Figures 4 and 5."""

import os
from collections.abc import Iterator

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.evaluation.ranks import ranks
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.explanation import UNTRAINED, explainer_of, words_look
from hslm_tf.report.gallery import Answer, Gallery
from hslm_tf.report.rendering import render
from hslm_tf.report.section import Section

# As many as the paper shows.
_CAPTIONS = 5
_IMAGES = 3


def retrieval_examples_section(
    model: HSLM,
    dataset: RetrievalDataset,
    scores: np.ndarray,
    image_folder: str | os.PathLike[str] | None = None,
    num_queries: int = 6,
) -> Section:
    """Shows the best captions of some images and the best images of some captions."""
    of_images, of_captions = ranks(scores, dataset.caption_to_image)
    images = chosen_queries(of_images, num_queries)
    captions = chosen_queries(of_captions, num_queries)
    examples = _Examples(model, dataset, scores)
    found = {
        "images": [list(examples.of_image(image)) for image in images],
        "captions": [list(examples.of_caption(caption)) for caption in captions],
    }
    every = [answer for queries in found.values() for answers in queries for answer in answers]
    gallery = Gallery(every, image_folder)
    body = render(
        "retrieval_examples.html",
        explained=words_look(model),
        untrained=UNTRAINED if model.config.cross_attention else "",
        images=[
            (of_images[image] + 1, gallery.html(answers))
            for image, answers in zip(images, found["images"], strict=True)
        ],
        captions=[
            (dataset.captions[caption], of_captions[caption] + 1, gallery.html(answers))
            for caption, answers in zip(captions, found["captions"], strict=True)
        ],
    )
    return Section("examples", "What is retrieved (Figures 4 and 5)", body)


def chosen_queries(query_ranks: np.ndarray, count: int) -> np.ndarray:
    """Chooses queries, half of them answered right and half wrong."""
    right, wrong = np.flatnonzero(query_ranks == 0), np.flatnonzero(query_ranks > 0)
    num_wrong = min(len(wrong), max(count // 2, count - len(right)))
    num_right = min(len(right), count - num_wrong)
    return np.concatenate([_spread(right, num_right), _spread(wrong, num_wrong)])


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]


class _Examples:
    """Answers to the images and captions of a split."""

    def __init__(self, model: HSLM, dataset: RetrievalDataset, scores: np.ndarray) -> None:
        self._model, self._dataset, self._scores = model, dataset, scores
        self._explainer = explainer_of(model)
        self._ids = ids_or_numbers(dataset)

    def of_image(self, image: int) -> Iterator[Answer]:
        """The best captions of an image."""
        captions = np.argsort(-self._scores[image], kind="stable")[:_CAPTIONS]
        for answer, caption in zip(
            self._answers(np.full(len(captions), image), captions), captions, strict=True
        ):
            owner = self._dataset.caption_to_image[caption]
            yield answer if owner == image else answer._replace(owner=self._ids[owner])

    def of_caption(self, caption: int) -> Iterator[Answer]:
        """The best images of a caption."""
        images = np.argsort(-self._scores[:, caption], kind="stable")[:_IMAGES]
        return self._answers(images, np.full(len(images), caption))

    def _answers(self, images: np.ndarray, captions: np.ndarray) -> Iterator[Answer]:
        """Image i and caption i, compared."""
        dataset = self._dataset
        boxes = dataset.read_boxes(images)
        encoded = self._model.encode_image(*dataset.read_images(images))
        for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
            text = dataset.captions[caption]
            one = {key: value[place : place + 1] for key, value in encoded.items()}
            yield Answer(
                self._ids[image],
                text,
                float(self._scores[image, caption]),
                self._explainer and self._explainer.explain(one, text),
                None if boxes is None else boxes[place],
                bool(dataset.caption_to_image[caption] == image),
            )
