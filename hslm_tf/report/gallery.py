"""Answers as HTML: photographs, the regions that each word attends to, right and wrong."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hslm_tf.report.explanation import Explanation
from hslm_tf.report.pictures import Picture, find_image, picture_of_file
from hslm_tf.report.regions import (
    Region,
    height_of,
    rectangles_of,
    strongest_regions,
    word_regions,
)
from hslm_tf.report.rendering import render, write_page

if TYPE_CHECKING:
    from markupsafe import Markup

# Regions shown at once. A page with very many words shows fewer of each, so that it stays small.
_REGIONS = 5
_REGIONS_OF_A_PAGE = 100_000
# Captions below one photograph, so that it is in sight of them all.
_CAPTIONS = 5
# The longest side of a photograph, in pixels; a page with more than 100 has smaller ones.
_LONGEST_SIDE = 320
_FULL_PICTURES = 100


class Answer(NamedTuple):
    """An image and a caption that were compared."""

    image_id: str
    caption: str
    score: float
    explanation: Explanation | None = None
    boxes: np.ndarray | None = None
    right: bool | None = None
    owner: str | None = None
    beside: "Markup | str" = ""
    file: Path | None = None


class Gallery:
    """Answers of one page: they share photographs, and more answers have smaller ones."""

    def __init__(
        self, answers: Sequence[Answer], image_folder: str | os.PathLike[str] | None
    ) -> None:
        words = sum(len(answer.explanation.words) for answer in answers if answer.explanation)
        self._regions = max(1, min(_REGIONS, _REGIONS_OF_A_PAGE // max(1, words)))
        files = {
            answer.image_id: answer.file or find_image(image_folder, answer.image_id)
            for answer in answers
        }
        side = round(_LONGEST_SIDE * min(1.0, (_FULL_PICTURES / max(1, len(files))) ** 0.5))
        self._pictures = {id_: picture_of_file(file, side) for id_, file in files.items()}
        self._shown: set[str] = set()

    def html(self, answers: Sequence[Answer]) -> "Markup":
        """Shows some of the answers, as `answers_html` does."""
        groups = itertools.groupby(answers, key=lambda answer: answer.image_id)
        of_images = [list(group) for _, group in groups]
        figures = [
            self._figure(group[first : first + _CAPTIONS])
            for group in of_images
            for first in range(0, len(group), _CAPTIONS)
        ]
        return render("answers.html", figures=figures)

    def _figure(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """What the template shows of one image and the captions compared with it."""
        best = answers[0]
        picture = self._pictures[best.image_id]
        rectangles = rectangles_of(best.boxes, picture)
        strongest = []
        if rectangles is not None and best.explanation is not None:
            strongest = strongest_regions(best.explanation, rectangles, self._regions)
        # A photograph is in the page once; later figures refer to it.
        name = _name(picture)
        first = name not in self._shown
        self._shown.add(name)
        return {
            "image_id": best.image_id,
            "beside": best.beside,
            "picture": picture,
            "picture_name": name,
            "is_first": first,
            "height": height_of(picture),
            "has_frame": picture.data is not None or rectangles is not None,
            "strongest": strongest,
            "answers": [(answer, list(self._words(answer, rectangles))) for answer in answers],
        }

    def _words(
        self, answer: Answer, rectangles: np.ndarray | None
    ) -> Iterator[tuple[str, float, float, list[Region]]]:
        """Words with their gates, these as shares of the largest, and the words' regions."""
        if answer.explanation is None:
            return
        words, gates = answer.explanation.words[1:-1], answer.explanation.word_weights[1:-1]
        regions = [[] for _ in words]
        if rectangles is not None:
            regions = word_regions(answer.explanation, rectangles, self._regions)
        shades = gates / max(gates.max(initial=0), 1e-12)
        yield from zip(words, gates.tolist(), shades.tolist(), regions, strict=True)


def answers_html(
    answers: Sequence[Answer], image_folder: str | os.PathLike[str] | None = None
) -> "Markup":
    """Shows answers; `gallery.css` belongs to them."""
    return Gallery(answers, image_folder).html(answers)


def write_gallery(
    path: Path,
    answers: Sequence[tuple[str, Sequence[Answer]]],
    image_folder: str | os.PathLike[str] | None = None,
    note: str = "",
) -> None:
    """Writes a page that needs no other file and runs no script."""
    gallery = Gallery([answer for _, found in answers for answer in found], image_folder)
    queries = [(query, gallery.html(found)) for query, found in answers]
    write_page(path, "Answers", render("gallery.html", queries=queries, note=note))


def _name(picture: Picture) -> str:
    """Name of a picture within a page, the same for the same picture only."""
    return "picture-" + hashlib.sha256((picture.data or "").encode()).hexdigest()[:12]
