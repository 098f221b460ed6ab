"""A query with its first answers, as a Markdown table."""

import string
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in string.punctuation})
RIGHT, WRONG = "✓", "✗"


class AnsweredQuery(NamedTuple):
    """A query with its first answers.

    Attributes:
        query: what was asked.
        answers: int `[k]`, the first answers among the n there are, best first.
        scores: `[k]`, their scores.
        right: bool `[k]`, whether they are right.
        place: place of the first right answer, counted from 1; as in the ranks, a wrong answer with
            the same score stands before it.
    """

    query: str
    answers: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    place: int

    @classmethod
    def from_scores(
        cls, query: str, scores: np.ndarray, right: np.ndarray, k: int = 5
    ) -> "AnsweredQuery":
        """Finds the first answers.

        Args:
            query: what was asked.
            scores: `[n]`, scores of all answers.
            right: bool `[n]`, which of them are right; one or more are.
            k: how many answers to keep.

        Returns:
            The example.
        """
        order = np.lexsort((right, -scores))
        place = int(right[order].argmax()) + 1
        first = order[:k]
        return cls(query, first, scores[first], right[first], place)

    def as_markdown(self, answers: Sequence[str]) -> str:
        """Writes the example as a table.

        Args:
            answers: the n answers as text.

        Returns:
            The query, the first answers, and the place of the first right one.
        """
        rows = [
            f"| {place} | {RIGHT if right else WRONG} | {score:.3f} | {plain(answers[row])} |"
            for place, (row, score, right) in enumerate(
                zip(self.answers, self.scores, self.right, strict=True), start=1
            )
        ]
        return "\n".join(
            [
                f"**{plain(self.query)}**",
                "",
                "| # | | score | answer |",
                "|---|---|---|---|",
                *rows,
                "",
                f"First right answer: place {self.place}",
            ]
        )


def plain(text: str) -> str:
    """Writes text so that Markdown and HTML show it as it is, in one line.

    Args:
        text: any text.

    Returns:
        The text, every punctuation mark as a character reference.
    """
    return " ".join(text.split()).translate(_MARKS)
