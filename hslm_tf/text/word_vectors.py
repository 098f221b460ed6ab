"""Initial word embeddings from GloVe and word2vec text files."""

import os
from collections.abc import Sequence

import numpy as np


def load_word_vectors(
    path: str | os.PathLike[str], words: Sequence[str], dim: int, seed: int = 0
) -> tuple[np.ndarray, int]:
    """Looks up the vectors of a vocabulary in a text file.

    Every line is a word and its `dim` numbers, separated by single spaces (GloVe); a first line
    of two integers, the number of vectors and their width, is the header of the word2vec format.
    Words are compared byte by byte, without lower-casing; of a repeated word the first vector
    counts. The file is read line by line and never held in memory.

    Args:
        path: the text file, UTF-8.
        words: the V words of the vocabulary, in the order of their ids.
        dim: width of a vector.
        seed: of the values of words that are not in the file.

    Returns:
        The matrix, float32 `[V, dim]`, uniform(-0.1, 0.1) where the file has no vector, and the
        number of words found.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if a line has the wrong width or a value that is not a finite number, or if
            the file has fewer or more vectors than its header says; the message names file and
            line.
    """
    matrix = np.random.default_rng(seed).uniform(-0.1, 0.1, (len(words), dim)).astype(np.float32)
    wanted = {word.encode(): row for row, word in enumerate(words)}
    num_words = len(wanted)
    announced = None
    number = 0
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{os.fspath(path)}, line {number}"
            line = line.rstrip()
            if number == 1 and (header := _header(line)):
                announced, width = header
                if width != dim:
                    raise ValueError(f"{place}: vectors of width {width}, expected {dim}")
                continue
            if line.count(b" ") != dim:
                # The GloVe files contain words with spaces, such as ". . ."; no token does.
                if _has_spaced_word(line, dim):
                    continue
                raise ValueError(
                    f"{place}: {line.count(b' ')} values, expected a word and {dim} values"
                )
            word, _, values = line.partition(b" ")
            if word in wanted:
                matrix[wanted.pop(word)] = _vector(values.split(b" "), place)
    vectors = number - (announced is not None)
    if announced not in (None, vectors):
        raise ValueError(
            f"{os.fspath(path)}: {vectors} vectors, expected {announced} as in its first line"
        )
    if not vectors:
        raise ValueError(f"{os.fspath(path)}: no vectors, expected words and their {dim} values")
    return matrix, num_words - len(wanted)


def _header(line: bytes) -> tuple[int, int] | None:
    fields = line.split(b" ")
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        return int(fields[0]), int(fields[1])
    return None


def _has_spaced_word(line: bytes, dim: int) -> bool:
    word = line.rsplit(b" ", dim)[0].split(b" ")
    if len(word) == 1:
        return False
    try:
        float(word[-1])
    except ValueError:
        return True
    return False


def _vector(values: list[bytes], place: str) -> np.ndarray:
    try:
        vector = np.array([float(value) for value in values], np.float32)
    except ValueError as error:
        raise ValueError(f"{place}: {error}, expected numbers separated by spaces") from error
    if not np.isfinite(vector).all():
        raise ValueError(f"{place}: NaN or infinity, expected finite numbers")
    return vector
