"""Answers as a static HTML page: thumbnails, regions, weights of words."""

import base64
import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.report.explanation import Explanation

_SUFFIXES = ("", ".jpg", ".jpeg", ".png")
_LONGEST_SIDE = 320
# Regions whose boxes are drawn: those that the words attend to most.
_BOXES = 5

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 1rem; }
.answers { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .6rem; border: 1px solid #ddd; border-radius: 6px; }
svg { display: block; width: 100%; background: #f3f3f3; }
rect { fill: none; stroke: #ffb000; stroke-width: .006; pointer-events: all; }
rect:hover { fill: #ffb00055; }
figcaption { margin-top: .4rem; }
.score { color: #666; font-variant-numeric: tabular-nums; }
.word { border-radius: 3px; padding: 0 .15em; }
"""


class Answer(NamedTuple):
    """One answer of the gallery.

    Attributes:
        image_id: the image.
        caption: the caption that the image is compared with.
        score: score of the pair.
        explanation: weights of words and regions, or None.
        boxes: float `[N, 4]` x0, y0, x1, y1, as parts of the image or in pixels, or None.
    """

    image_id: str
    caption: str
    score: float
    explanation: Explanation | None = None
    boxes: np.ndarray | None = None


def write_gallery(
    path: Path,
    answers: Sequence[tuple[str, Sequence[Answer]]],
    image_folder: str | os.PathLike[str] | None = None,
) -> None:
    """Writes a page that needs no other file and runs no script.

    Args:
        path: the file; it appears in one piece.
        answers: every query as text, with its answers, best first.
        image_folder: folder with the image files, called as the image's id, with or without its
            ending; None, or an image that is not there, leaves an empty frame.

    Raises:
        OSError: if the file cannot be written.
    """
    sections = [
        f"<h2>{html.escape(query)}</h2>\n<div class='answers'>\n"
        + "\n".join(_figure(answer, image_folder) for answer in found)
        + "\n</div>"
        for query, found in answers
    ]
    page = (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<title>hslm_tf</title>"
        f"\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )
    with atomic_write(path) as draft:
        draft.write_text(page, "utf-8")


def find_image(folder: str | os.PathLike[str] | None, image_id: str) -> Path | None:
    """Finds the file of an image.

    Args:
        folder: the folder, or None.
        image_id: the image; only a plain name is looked for, never a path out of the folder.

    Returns:
        The file, or None.
    """
    if folder is None or Path(image_id).name != image_id:
        return None
    files = (Path(folder) / (image_id + suffix) for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _figure(answer: Answer, folder: str | os.PathLike[str] | None) -> str:
    picture, width, height = _thumbnail(find_image(folder, answer.image_id))
    lines = [
        "<figure>",
        # One unit is the image's width: strokes are as wide for any image.
        f"<svg viewBox='0 0 1 {height / width:.4f}'>",
    ]
    if picture:
        lines.append(f"<image width='1' height='{height / width:.4f}' href='{picture}'/>")
    lines += _rectangles(answer, width, height, known_size=picture is not None)
    lines += [
        "</svg>",
        f"<figcaption><span class='score'>{answer.score:.4f}</span> "
        f"<strong>{html.escape(answer.image_id)}</strong><br>{_words(answer)}</figcaption>",
        "</figure>",
    ]
    return "\n".join(lines)


def _rectangles(answer: Answer, width: int, height: int, known_size: bool) -> list[str]:
    if answer.boxes is None or answer.explanation is None:
        return []
    boxes = np.asarray(answer.boxes, np.float64)
    in_pixels = boxes.max(initial=0) > 1.5
    if in_pixels and not known_size:
        return []
    if in_pixels:
        boxes = boxes / [width, height, width, height]
    boxes = boxes * [1, height / width, 1, height / width]
    # A region is as strong as the largest product of a word's gate and its attention to the region;
    # <start> and <end> do not count.
    attention = answer.explanation.attention[1:-1] * answer.explanation.word_weights[1:-1, None]
    strength = attention.max(axis=0)
    strongest = np.argsort(-strength, kind="stable")[:_BOXES]
    sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    lines = []
    # Small ones on top, where a pointer reaches them.
    for region in sorted(strongest[strength[strongest] > 0], key=lambda region: -sizes[region]):
        x0, y0, x1, y1 = boxes[region]
        word = answer.explanation.words[1 + int(attention[:, region].argmax())]
        share = strength[region] / strength.max()
        lines.append(
            f"<rect x='{x0:.4f}' y='{y0:.4f}' width='{x1 - x0:.4f}' height='{y1 - y0:.4f}' "
            f"stroke-opacity='{share:.2f}'><title>{html.escape(word)}</title></rect>"
        )
    return lines


def _words(answer: Answer) -> str:
    if answer.explanation is None:
        return html.escape(answer.caption)
    words, gates = answer.explanation.words[1:-1], answer.explanation.word_weights[1:-1]
    shades = gates / max(gates.max(initial=0), 1e-12)
    return " ".join(
        f"<span class='word' title='{gate:.2f}' style='background: rgb(255 176 0 / {shade:.2f})'>"
        f"{html.escape(word)}</span>"
        for word, gate, shade in zip(words, gates, shades, strict=True)
    )


def _thumbnail(file: Path | None) -> tuple[str | None, int, int]:
    """The image as a data URI, and its width and height; 4 : 3 where there is none."""
    if file is None:
        return None, 4, 3
    try:
        image = tf.io.decode_image(tf.io.read_file(str(file)), 3, expand_animations=False)
    except tf.errors.OpError:
        return None, 4, 3
    height, width = image.shape[:2]
    factor = min(1.0, _LONGEST_SIDE / max(height, width))
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    small = tf.image.resize(image, size, antialias=True)
    jpeg = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(small, 0, 255), tf.uint8), quality=85)
    data = base64.b64encode(jpeg.numpy()).decode()
    return f"data:image/jpeg;base64,{data}", width, height
