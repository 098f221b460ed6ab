"""Files with flipped bytes, cut, lengthened and spliced, the same for the same seed."""

from collections.abc import Iterator

import numpy as np

# What parsers stumble over: marks, ends, nesting, and numbers beyond any type.
HOSTILE = (
    *(b"\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xef\xbb\xbf"),
    *(b"\xff\xfe", b"\n", b"\r\n", b"\t", b'"', b"\\", b"../../", b"/etc/passwd", b"\xed\xa0\x80"),
    *(b"\x1b[2J", b"[" * 100_000, b"{}", b"-1", b"0", b"9" * 30, b"9" * 5000, b"1e999", b"NaN"),
    *(b"null", b"true"),
)


def mutants(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Mutated content of a file.

    A third of the mutants are changed in their first 128 bytes, where headers are.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        mutant = bytearray(content)
        reach = min(len(mutant), 128) if number % 3 == 0 else len(mutant)
        for place in rng.integers(0, reach, rng.integers(1, 5)):
            mutant[place] = rng.integers(0, 256)
        if number % 7 == 1:
            del mutant[rng.integers(0, len(mutant)) :]
        elif number % 7 == 2:
            mutant += rng.bytes(rng.integers(1, 50))
        yield bytes(mutant)


def spliced(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Content with parts removed, repeated, moved, or with something hostile in their place."""
    rng = np.random.default_rng((seed, 1))
    for number in range(count):
        first, last = np.sort(rng.integers(0, len(content) + 1, 2))
        if number % 2:
            last = min(first + rng.integers(1, 9), len(content))
        part, place = content[first:last], rng.integers(0, len(content) + 1)
        without = content[:first] + content[last:]
        yield (
            without,
            content[:place] + part + content[place:],
            without[:place] + part + without[place:],
            content[:first] + HOSTILE[rng.integers(len(HOSTILE))] + content[last:],
            HOSTILE[rng.integers(len(HOSTILE))] + content,
        )[rng.integers(5) if number % 3 else 3]
