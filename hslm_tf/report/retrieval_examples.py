"""Hits of a model, right and wrong, as in the paper's Figures 4 and 5."""

import os

import numpy as np

from hslm_tf.data.dataset import RetrievalDataset, ids_or_numbers
from hslm_tf.evaluation.ranks import ranks
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.explanation import ExplainedHit, explainer_of, untrained_note
from hslm_tf.report.gallery import Gallery
from hslm_tf.report.pages import Section, render

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
    explainer, ids = explainer_of(model), ids_or_numbers(dataset)

    def explained(images: np.ndarray, captions: np.ndarray) -> list[ExplainedHit]:
        """Explains image i and caption i, for every i."""
        boxes = dataset.read_boxes(images)
        encoded = model.encode_image(*dataset.read_images(images))
        hits = []
        for place, (image, row) in enumerate(zip(images, captions, strict=True)):
            caption, other = dataset.captions[row], dataset.caption_to_image[row]
            one = {key: value[place : place + 1] for key, value in encoded.items()}
            hit = ExplainedHit(
                ids[image],
                caption,
                float(scores[image, row]),
                explainer and explainer.explain(one, caption),
                None if boxes is None else boxes[place],
                bool(other == image),
                None if other == image else ids[other],
            )
            hits.append(hit)
        return hits

    image_ranks, caption_ranks = ranks(scores, dataset.caption_to_image)
    images = chosen_queries(image_ranks, num_queries)
    captions = chosen_queries(caption_ranks, num_queries)
    of_images, of_captions = [], []
    for image in images:
        best = np.argsort(-scores[image], kind="stable")[:_CAPTIONS]
        of_images.append(explained(np.full(len(best), image), best))
    for caption in captions:
        best = np.argsort(-scores[:, caption], kind="stable")[:_IMAGES]
        hits = explained(best, np.full(len(best), caption))
        # The caption is the query: a wrong image is marked, and needs no other image beside it.
        of_captions.append([hit._replace(caption_of=None) for hit in hits])
    gallery = Gallery([hit for hits in (*of_images, *of_captions) for hit in hits], image_folder)
    body = render(
        "retrieval_examples.html",
        explained=explainer is not None,
        untrained=untrained_note(model),
        images=[
            (image_ranks[image] + 1, gallery.html(hits))
            for image, hits in zip(images, of_images, strict=True)
        ],
        captions=[
            (dataset.captions[caption], caption_ranks[caption] + 1, gallery.html(hits))
            for caption, hits in zip(captions, of_captions, strict=True)
        ],
    )
    return Section("examples", "What is retrieved (Figures 4 and 5)", body)


def chosen_queries(query_ranks: np.ndarray, count: int) -> np.ndarray:
    """Chooses queries, half of them with a right hit first and half without, evenly spread."""
    right, wrong = np.flatnonzero(query_ranks == 0), np.flatnonzero(query_ranks > 0)
    num_wrong = min(len(wrong), max(count // 2, count - len(right)))
    num_right = min(len(right), count - num_wrong)
    return np.concatenate([_spread(right, num_right), _spread(wrong, num_wrong)])


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)]
