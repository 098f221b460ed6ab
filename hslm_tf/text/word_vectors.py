"""Initial word embeddings from files of pretrained word vectors."""

import codecs
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from hslm_tf.data.atomic_write import naming
from hslm_tf.data.errors import DataError
from hslm_tf.data.npy import BROKEN_NPZ, read_member
from hslm_tf.data.regular_file import regular_file
from hslm_tf.data.text_lines import LONGEST_LINE, check_line

# Words without a vector start uniform in +-0.1, as the whole embedding does without a file.
LARGEST_RANDOM = 0.1
RANDOM_DEVIATION = LARGEST_RANDOM / 3**0.5
# word2vec and gensim write the number of vectors and their width.
_HEADER = re.compile(rb"(\d{1,18}) (\d{1,18})")


def load_word_vectors(
    path: str | os.PathLike[str],
    words: Sequence[str],
    dim: int,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Makes an embedding of a vocabulary from pretrained vectors.

    Published vectors are long (GloVe's have a norm near 6), and the self-attention of Eq. 6 is
    cubic in its input: unchanged, they make a model collapse. So one factor scales all
    values of the file to the standard deviation of the random start.

    Args:
        path: text with a word and its numbers on each line (GloVe, word2vec), or a `.npz` with
            the arrays `words`, strings `[n]`, and `vectors` `[n, width]`.
        words: the V words of the vocabulary, in the order of their ids.
        dim: width of the embedding. Narrower vectors fill its first columns, and the others start
            random.
        seed: seed of the values that are not in the file.

    Returns:
        The matrix, float32 `[V, dim]`, uniform(-0.1, 0.1) where the file has no value; and boolean
        `[V]`, which words were found.

    Raises:
        OSError: if the file cannot be read.
        DataError: if vectors are too wide, differ in width or hold values that are not finite, or
            if their number is not that of the header.
    """
    rng = np.random.default_rng(seed)
    matrix = rng.uniform(-LARGEST_RANDOM, LARGEST_RANDOM, (len(words), dim)).astype(np.float32)
    found = np.zeros(len(words), bool)
    vectors = read_word_vectors(path, words, dim)
    if vectors:
        rows = list(vectors)
        values = np.stack([vectors[row] for row in rows])
        deviation = values.std(dtype=np.float64)
        if deviation > 0:
            values = values * np.float32(RANDOM_DEVIATION / deviation)
        matrix[rows, : values.shape[1]] = values
        found[rows] = True
    return matrix, found


def read_word_vectors(
    path: str | os.PathLike[str], words: Sequence[str], largest_width: int
) -> Mapping[int, np.ndarray]:
    """Looks up the vectors of words, by id, in a text file (GloVe, word2vec) or a `.npz`."""
    name = os.fspath(path)
    wanted = {word.encode(): row for row, word in enumerate(words)}
    vectors: dict[int, np.ndarray] = {}
    for place, word, values in _of_npz(name) if name.endswith(".npz") else _of_text(name):
        if len(values) > largest_width:
            raise DataError(
                f"{place}: vectors of width {len(values)}, expected at most {largest_width} "
                "(--word-dim)"
            )
        if word in wanted:
            vectors[wanted.pop(word)] = _vector(values, place)
    return vectors


def _of_text(name: str) -> Iterator[tuple[str, bytes, Sequence[bytes]]]:
    announced = width = None
    count = 0
    with naming(name), open(regular_file(name), "rb") as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), start=1):
            place = f"{name}, line {number}"
            check_line(line, place)
            line = line.rstrip()
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
                if header := _HEADER.fullmatch(line):
                    announced, width = map(int, header.groups())
                    continue
            count += 1
            width = width or _width(line)
            if not width:
                raise DataError(f"{place}: no values, expected a word and its values")
            word, *values = line.rsplit(b" ", width)
            if len(values) < width or (b" " in word and _is_number(word.split(b" ")[-1])):
                raise DataError(
                    f"{place}: {line.count(b' ')} values, expected a word and {width} values"
                )
            # The GloVe files contain words with spaces, such as ". . ."; no token does.
            if b" " not in word:
                yield place, word, values
    if announced not in (None, count):
        raise DataError(f"{name}: {count} vectors, expected {announced} as in its first line")
    if not count:
        raise DataError(f"{name}: no vectors, expected lines of a word and its values")


def _of_npz(name: str) -> Iterator[tuple[str, bytes, np.ndarray]]:
    try:
        with zipfile.ZipFile(regular_file(name)) as archive:
            words, vectors = (read_member(archive, key, name) for key in ("words", "vectors"))
    except (DataError, FileNotFoundError):
        raise
    except BROKEN_NPZ as error:
        raise DataError(
            f"{name}: expected the arrays `words` (strings) and `vectors`, found {error}"
        ) from error
    if words.dtype.kind != "U" or vectors.dtype.kind != "f" or vectors.shape[:1] != words.shape:
        raise DataError(
            f"{name}: `words` {words.dtype}{list(words.shape)} and `vectors` "
            f"{vectors.dtype}{list(vectors.shape)}, expected strings [n] and floats [n, width]"
        )
    if vectors.ndim != 2 or not len(vectors):
        raise DataError(f"{name}: `vectors` {list(vectors.shape)}, expected [n, width]")
    for row, vector in enumerate(vectors):
        place = f"{name}, row {row}"
        try:
            word = str(words[row]).encode()
            word.decode()
        # Code points beyond Unicode, and halves of characters.
        except ValueError as error:
            raise DataError(f"{place}: the word is not valid Unicode: {error}") from error
        yield place, word, vector


def _width(line: bytes) -> int:
    """Number of values on a line whose word may have spaces, or be a number itself."""
    fields = line.split(b" ")[1:]
    numbers = 0
    while numbers < len(fields) and _is_number(fields[-1 - numbers]):
        numbers += 1
    # Where there is no number at all, the error names the number of fields.
    return numbers or len(fields)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _vector(values: Sequence[bytes] | np.ndarray, place: str) -> np.ndarray:
    try:
        vector = np.array([float(value) for value in values], np.float32)
    except ValueError as error:
        raise DataError(f"{place}: {error}, expected numbers separated by spaces") from error
    if not np.isfinite(vector).all():
        raise DataError(f"{place}: NaN or infinity, expected finite numbers")
    return vector
