"""Hits as HTML: photographs, the regions that each word attends to, right and wrong."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hslm_tf.report.explanation import ExplainedHit, Explanation
from hslm_tf.report.pages import render, write_page
from hslm_tf.report.pictures import find_image, picture_of, rectangles_of

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


class Gallery:
    """The hits of one page, which share photographs."""

    def __init__(
        self, hits: Sequence[ExplainedHit], image_folder: str | os.PathLike[str] | None
    ) -> None:
        words = sum(len(hit.explanation.words) for hit in hits if hit.explanation)
        self._num_regions = max(1, min(_REGIONS, _REGIONS_OF_A_PAGE // max(1, words)))
        files = {hit.image_id: hit.file or find_image(image_folder, hit.image_id) for hit in hits}
        side = round(_LONGEST_SIDE * min(1.0, (_FULL_PICTURES / max(1, len(files))) ** 0.5))
        self._pictures = {image_id: picture_of(file, side) for image_id, file in files.items()}
        self._shown: set[str] = set()

    def html(self, hits: Sequence[ExplainedHit]) -> "Markup":
        """Shows some of the hits; `gallery.css` belongs to them."""
        groups = [list(group) for _, group in itertools.groupby(hits, lambda hit: hit.image_id)]
        figures = [
            self._figure(group[first : first + _CAPTIONS])
            for group in groups
            for first in range(0, len(group), _CAPTIONS)
        ]
        return render("hits.html", figures=figures)

    def _figure(self, hits: Sequence[ExplainedHit]) -> dict[str, Any]:
        """Values for the template: one image and the captions compared with it."""
        best = hits[0]
        picture = self._pictures[best.image_id]
        rectangles = rectangles_of(best.boxes, picture)
        strongest = []
        if rectangles is not None and best.explanation is not None:
            strongest = _strongest_regions(best.explanation, rectangles, self._num_regions)
        # A photograph is in the page once; later figures refer to it.
        name = "picture-" + hashlib.sha256((picture.data or "").encode()).hexdigest()[:12]
        first = name not in self._shown
        self._shown.add(name)
        return {
            "image_id": best.image_id,
            "beside": best.beside,
            "picture": picture,
            "picture_name": name,
            "is_first": first,
            "has_frame": picture.data is not None or rectangles is not None,
            "strongest": strongest,
            "hits": [(hit, list(self._words(hit, rectangles))) for hit in hits],
        }

    def _words(
        self, hit: ExplainedHit, rectangles: np.ndarray | None
    ) -> Iterator[tuple[str, float, float, list["_Region"]]]:
        """Each word with its gate, the gate as a share of the largest, and its regions."""
        if hit.explanation is None:
            return
        words, gates, attention = hit.explanation
        shades = gates / max(gates.max(initial=0), 1e-12)
        for word, gate, shade, row in zip(words, gates, shades, attention, strict=True):
            regions = [] if rectangles is None else _regions(row, rectangles, self._num_regions)
            yield word, float(gate), float(shade), regions


def write_gallery(
    path: Path,
    queries: Sequence[tuple[str, Sequence[ExplainedHit]]],
    image_folder: str | os.PathLike[str] | None = None,
    note: str = "",
) -> None:
    """Writes a page of queries and their hits that needs no other file and runs no script."""
    gallery = Gallery([hit for _, hits in queries for hit in hits], image_folder)
    shown = [(query, gallery.html(hits)) for query, hits in queries]
    write_page(path, "Search results", render("gallery.html", queries=shown, note=note))


class _Region(NamedTuple):
    x: int
    y: int
    width: int
    height: int
    opacity: float
    word: str


def _strongest_regions(
    explanation: Explanation, rectangles: np.ndarray, count: int
) -> list[_Region]:
    """The regions that a caption attends to most, each with the word that does."""
    strength = explanation.attention * explanation.word_weights[:, None]
    if not len(strength):
        return []
    words = [explanation.words[row] for row in strength.argmax(axis=0)]
    return _regions(strength.max(axis=0), rectangles, count, words)


def _regions(
    strength: np.ndarray, rectangles: np.ndarray, count: int, words: list[str] | None = None
) -> list[_Region]:
    """The strongest regions; larger ones come first, so that they lie below smaller ones."""
    strongest = np.argsort(-strength, kind="stable")[:count]
    strongest = strongest[strength[strongest] > 0]
    sizes = rectangles[:, 2] * rectangles[:, 3]
    return [
        _Region(
            *rectangles[region].tolist(),
            opacity=round(float(strength[region] / strength.max()), 2),
            word=words[region] if words else "",
        )
        for region in sorted(strongest, key=lambda region: -sizes[region])
    ]
