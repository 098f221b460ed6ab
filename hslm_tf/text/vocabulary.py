"""Words and their ids, in the JSON format that SCAN and SGRAF release."""

import codecs
import collections
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import read_file

SPECIAL_WORDS = ("<pad>", "<start>", "<end>", "<unk>")

# How a pickle begins: from protocol 2 on; an object, a dictionary or a list before.
_PICKLE = re.compile(rb"\x80|\(?[ci][\w.]+\n\w+\n(?:p\d|q[\0-\x1f]|\()|\([dl]p\d|[}\]]q[\0-\x1f]")
# A command for the user: in a pickle, SCAN's class is `Vocabulary` in `__main__` or in `vocab`.
_PICKLE_TO_JSON = (
    "import json, pickle, sys; Vocabulary = type('Vocabulary', (), {}); "
    "sys.modules['vocab'] = sys.modules['__main__']; "
    "found = pickle.load(open(sys.argv[1], 'rb'), encoding='utf-8'); "
    "json.dump(getattr(found, '__dict__', found), open(sys.argv[2], 'w'))"
)


class Vocabulary:
    """The words of a model; a word's id is its place.

    Args:
        words: all words in the order of their ids, beginning with `<pad>`, `<start>`, `<end>` and
            `<unk>`.

    Raises:
        ValueError: if a word occurs twice, is not a string or is empty, or if the special words
            are not the first four.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        if self.words[:4] != SPECIAL_WORDS:
            raise ValueError(
                f"Ids 0 to 3 must be {', '.join(SPECIAL_WORDS)}. Received: words[:4]={words[:4]}"
            )
        self._ids: dict[str, int] = {}
        for index, word in enumerate(self.words):
            if not isinstance(word, str) or not word:
                raise ValueError(
                    f"A word must be a non-empty string. Received: id {index}={word!r}"
                )
            if word in self._ids:
                raise ValueError(
                    f"Every word must have one id. Received: word={word!r} with ids "
                    f"{self._ids[word]} and {index}"
                )
            self._ids[word] = index

    @classmethod
    def build(cls, counts: Mapping[str, int], min_count: int = 4) -> "Vocabulary":
        """Collects the words that occur at least `min_count` times, the most frequent first."""
        # Equal counts in alphabetical order: the ids do not depend on the order of the captions.
        kept = (
            (-count, word)
            for word, count in counts.items()
            if count >= min_count and word not in SPECIAL_WORDS
        )
        return cls([*SPECIAL_WORDS, *(word for _, word in sorted(kept))])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
        """Reads a vocabulary file of SCAN, SGRAF or `save`, keeping every id.

        Args:
            path: a JSON object with `word2idx`, `idx2word` and `idx`, see `docs/text.md`. A pickle,
                as older releases have it, is recognised but never opened: it can run any code.

        Returns:
            The vocabulary.

        Raises:
            OSError: if the file cannot be read.
            DataError: if its content is not a vocabulary; the message names the file, what was
                found and what was expected.
        """
        try:
            return cls(_words_in_order(_read_json(path)))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{os.fspath(path)} is not a vocabulary: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the vocabulary as JSON; an existing file is replaced whole or not at all.

        Args:
            path: the file to write.
        """
        content = {
            "idx2word": {str(index): word for index, word in enumerate(self.words)},
            "word2idx": self._ids,
            "idx": len(self),
        }
        with atomic_write(Path(path)) as draft:
            draft.write_text(json.dumps(content), encoding="utf-8")

    def id_of(self, word: str) -> int:
        """The id of a word, that of `<unk>` for an unknown one."""
        return self._ids.get(word, SPECIAL_WORDS.index("<unk>"))

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"


def training_vocabulary(
    counts: Mapping[str, int], path: str | os.PathLike[str] | None, min_count: int
) -> Vocabulary:
    """Reads or builds the vocabulary of a training, which must know a word of its captions."""
    vocabulary = Vocabulary.build(counts, min_count) if path is None else Vocabulary.load(path)
    if not counts.keys() & set(vocabulary.words[len(SPECIAL_WORDS) :]):
        raise ValueError(
            f"None of the {len(counts)} different words of the training captions is in the "
            f"vocabulary, which has {len(vocabulary) - len(SPECIAL_WORDS)} words: lower "
            "--min-count, name another --vocabulary, or put spaces between the words"
        )
    return vocabulary


def _read_json(path: str | os.PathLike[str]) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # A repeated key would otherwise vanish and show up as a gap, far from its cause.
        content = dict(pairs)
        if len(content) < len(pairs):
            key, count = collections.Counter(key for key, _ in pairs).most_common(1)[0]
            raise ValueError(f"key {key!r} occurs {count} times, expected once")
        return content

    content = read_file(path).removeprefix(codecs.BOM_UTF8)
    if _PICKLE.match(content):
        files = shlex.join([os.fspath(path), f"{os.fspath(path).removesuffix('.pkl')}.json"])
        raise ValueError(
            "it is a pickle, which is never opened here because a pickle can run any code. Where "
            f'you trust it, this makes JSON of it: python -c "{_PICKLE_TO_JSON}" {files}'
        )
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"line {error.lineno}, column {error.colno}: {error.msg}, expected JSON"
        ) from error


def _words_in_order(content: Any) -> list[str]:
    if not isinstance(content, dict):
        raise ValueError(
            f"found {type(content).__name__}, expected an object with word2idx, idx2word, idx"
        )
    for key, kind in {"word2idx": dict, "idx2word": dict, "idx": int}.items():
        if key not in content:
            raise ValueError(f"found the keys {sorted(content)}, expected {key!r} among them")
        if type(content[key]) is not kind:
            raise ValueError(f"{key!r} is {type(content[key]).__name__}, expected {kind.__name__}")
    word_to_id, id_to_word = content["word2idx"], content["idx2word"]
    word_of: dict[int, str] = {}
    for word, index in word_to_id.items():
        if type(index) is not int:
            raise ValueError(f"word2idx[{word!r}] is {index!r}, expected an integer id")
        if index in word_of:
            raise ValueError(
                f"word2idx gives id {index} to {word_of[index]!r} and {word!r}, expected one word"
            )
        word_of[index] = word
    count = len(word_of)
    for index in range(count):
        if index not in word_of:
            raise ValueError(
                f"word2idx has no word with id {index}, expected ids 0 to {count - 1} without gaps "
                f"for its {count} words"
            )
        word = id_to_word.get(str(index))
        if word != word_of[index]:
            raise ValueError(
                f"idx2word['{index}'] is {word!r}, expected {word_of[index]!r} as in word2idx"
            )
    for key, number in (("idx2word", len(id_to_word)), ("idx", content["idx"])):
        if number != count:
            raise ValueError(f"{key} counts {number} words, expected {count} as in word2idx")
    return [word_of[index] for index in range(count)]
