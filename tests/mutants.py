"""Files with flipped bytes, cut and lengthened, the same for the same seed."""

from collections.abc import Iterator

import numpy as np


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
