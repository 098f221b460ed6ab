r"""One spelling for captions that look alike, as TensorFlow string operations.

NFKC comes from tables, because TensorFlow has no operation for it and servers lack those of other
packages. Two forms stay as they are: Hangul in single letters (jamo), and letters followed by
other marks than those that one precomposed letter has.
"""

import functools
import itertools
import unicodedata

import numpy as np
import tensorflow as tf

# U+FDD0 to U+FDD2 are this package's own marks. NFKC would make a blank with an accent of U+00B4,
# and two primes of U+2033.
_BEFORE = (
    (r"[\p{Cf}\x{34f}\x{fe00}-\x{fe0f}\x{fdd0}-\x{fdd2}]", ""),
    (r"\x{b4}", "'"),
    (r"\x{2033}", '"'),
)
_AFTER = (
    (r"[\x{2bc}\x{2018}-\x{201b}\x{2032}\x{2039}\x{203a}]", "'"),
    (r"[\x{ab}\x{bb}\x{201c}-\x{201f}]", '"'),
    (r"[\x{2010}-\x{2013}\x{2212}]", "-"),
    (r"[\x{2014}\x{2015}]", " - "),
    (r"[\x{2044}\x{2215}]", "/"),
)
_BREAK = "\ufdd0"
_NUM_FINGERPRINTS = 2**62


def regex_replace_all(text: tf.Tensor, rules: tuple[tuple[str, str], ...]) -> tf.Tensor:
    """Applies pairs of a pattern and a replacement, one after the other."""
    for pattern, rewrite in rules:
        text = tf.strings.regex_replace(text, pattern, rewrite)
    return text


def normalize(text: tf.Tensor) -> tf.Tensor:
    """Gives strings in UTF-8 their NFKC form, plain quotes and dashes, and nothing invisible."""
    text = regex_replace_all(text, _BEFORE)
    forms, fingerprints, normal = map(tf.constant, _forms())
    for pattern in (r"[^\x00-\x7f]", r"(?s:.)\p{M}+"):
        text = tf.strings.regex_replace(text, pattern, rf"{_BREAK}\0{_BREAK}")
        pieces = tf.strings.split(text, _BREAK)
        piece = pieces.flat_values
        fingerprint = tf.strings.to_hash_bucket_fast(piece, _NUM_FINGERPRINTS)
        place = tf.minimum(tf.searchsorted(fingerprints, fingerprint), tf.size(forms) - 1)
        piece = tf.where(tf.gather(forms, place) == piece, tf.gather(normal, place), piece)
        text = tf.strings.reduce_join(pieces.with_flat_values(piece), axis=1)
    return regex_replace_all(text, _AFTER)


@functools.cache
def _forms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Characters and letters with marks that NFKC changes, their fingerprints, and NFKC."""
    normal = {}
    # No character beyond U+2FFFF has a decomposition.
    for character in filter(unicodedata.decomposition, map(chr, range(0x30000))):
        letter, *marks = unicodedata.normalize("NFD", character)
        spellings = {character}
        for order in map("".join, itertools.permutations(marks)):
            for end in range(len(order) + 1):
                spellings.add(unicodedata.normalize("NFC", letter + order[:end]) + order[end:])
        normal |= {spelling: unicodedata.normalize("NFKC", spelling) for spelling in spellings}
    changed = [(key.encode(), form.encode()) for key, form in normal.items() if key != form]
    forms, normal_forms = np.array(changed, object).T
    with tf.init_scope():
        fingerprints = tf.strings.to_hash_bucket_fast(forms, _NUM_FINGERPRINTS).numpy()
    order = fingerprints.argsort()
    return forms[order], fingerprints[order], normal_forms[order]
