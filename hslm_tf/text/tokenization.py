r"""Normalization, lower-casing and NLTK's word tokenization as TensorFlow string operations.

The rules are those of `nltk.tokenize.NLTKWordTokenizer`, in their order, on normalized text in
lower case, as `nltk.word_tokenize(text.lower(), preserve_line=True)` applies them. Rules for
characters that `normalize` replaces are left out. RE2 differs from Python's engines in three ways
that matter here, and each has one remedy:

- `\w`, `\d` and `\s` are ASCII in RE2: the classes are written out with Unicode properties, and
  white space other than the space becomes a tab before the first rule;
- there is no lookaround: a quotation mark that must stay is set aside as `_KEPT_QUOTE`;
- `\b` is ASCII in RE2: words are wrapped in `_WORD_START` and `_WORD_END`.

The three marks are Unicode noncharacters, which are reserved for a program's internal use.
"""

from collections.abc import Sequence

import tensorflow as tf

from hslm_tf.text.normalization import normalize, regex_replace_all

# NLTK compiles its contractions with `re` and the rest with `regex`, whose `\w` are not the same.
_RE_WORD = r"\p{L}\p{N}_"
_REGEX_WORD = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}"
_WHITESPACE = r"\t\n\v\f\r\x1c-\x1f\x{85}\x{1680}\x{2028}\x{2029}"
_KEPT_QUOTE, _WORD_START, _WORD_END = "\ufdd0", "\ufdd1", "\ufdd2"

_STARTING_QUOTES = (
    (r"`+", r" \0 "),
    (r'^"', "``"),
    (r"``", r" \0 "),
    (r"([ (\[{<])(?:\"|'')", r"\1 `` "),
    # A quotation mark opens a word unless it follows a word or begins a clitic: set those aside.
    (rf"([{_REGEX_WORD}])'", rf"\1{_KEPT_QUOTE}"),
    (rf"'((?i:re|ve|ll|m|t|s|d|n)(?:[^{_REGEX_WORD}]|$))", rf"{_KEPT_QUOTE}\1"),
    (rf"'([{_REGEX_WORD}])", r"' \1"),
    (_KEPT_QUOTE, "'"),
)

_PUNCTUATION = (
    (r"([^.])(\.)([\])}>\"' ]*)[ \t]*$", r"\1 \2 \3 "),
    (r"([:,])(\P{Nd})", r" \1 \2"),
    (r"[:,]$", r" \0 "),
    (r"\.{2,}|[;@#$%&]", r" \0 "),
    (r"([^.])(\.)([\])}>\"']*)[ \t]*$", r"\1 \2\3 "),
    (r"[?!]", r" \0 "),
    (r"([^'])' ", r"\1 ' "),
    (r"--|[*\][(){}<>]", r" \0 "),
)

_ENDING_QUOTES = (
    (r"''", r" \0 "),
    (r'"', " '' "),
    (r"[ \t]+", " "),
    (r"([^' ])('[smd]?) ", r"\1 \2 "),
    (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
)

_CONTRACTIONS = (
    (rf"[{_RE_WORD}]+", rf"{_WORD_START}\0{_WORD_END}"),
    (rf"(?i){_WORD_START}(can)(not){_WORD_END}", r" \1 \2 "),
    (rf"(?i){_WORD_START}(d){_WORD_END}'{_WORD_START}(ye){_WORD_END}", r" \1 '\2 "),
    (rf"(?i){_WORD_START}(gim|lem)(me){_WORD_END}", r" \1 \2 "),
    (rf"(?i){_WORD_START}(gon)(na){_WORD_END}", r" \1 \2 "),
    (rf"(?i){_WORD_START}(got)(ta){_WORD_END}", r" \1 \2 "),
    (rf"(?i){_WORD_START}(more){_WORD_END}'{_WORD_START}(n){_WORD_END}", r" \1 '\2 "),
    (rf"(?i){_WORD_START}(wan)(na){_WORD_END} ", r" \1 \2 "),
    (rf"(?i) '{_WORD_START}(t)(is){_WORD_END}", r" '\1 \2 "),
    (rf"(?i) '{_WORD_START}(t)(was){_WORD_END}", r" '\1 \2 "),
    (rf"[{_WORD_START}{_WORD_END}]", ""),
)


def string_tensor(captions: Sequence[str | bytes] | tf.Tensor) -> tf.Tensor:
    """Makes a tensor of captions; a lone surrogate becomes bytes that are not UTF-8."""
    if not tf.is_tensor(captions) and not isinstance(captions, str | bytes):
        captions = [
            caption.encode("utf-8", "surrogatepass") if isinstance(caption, str) else caption
            for caption in captions
        ]
    return tf.convert_to_tensor(captions, tf.string)


def tokenize(captions: Sequence[str | bytes] | tf.Tensor) -> tf.RaggedTensor:
    """Normalizes captions, lower-cases them and splits them into words as NLTK does."""
    captions = string_tensor(captions)
    if captions.shape.rank not in (None, 1):
        raise ValueError(
            f"Captions must be a vector of strings. Received: captions.shape={captions.shape}"
        )
    return _words_of(captions)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _words_of(captions: tf.Tensor) -> tf.RaggedTensor:
    """The words of captions, as one graph, which is faster than its operations one by one."""
    text = normalize(tf.strings.unicode_transcode(captions, "UTF-8", "UTF-8"))
    # ASCII first: the Unicode mapping follows the locale, and a Turkish one has no "I" -> "i".
    text = tf.strings.lower(tf.strings.lower(text), encoding="utf-8")
    text = tf.strings.regex_replace(text, f"[{_WHITESPACE}]", "\t")
    text = regex_replace_all(text, _STARTING_QUOTES)
    text = regex_replace_all(text, _PUNCTUATION)
    text = regex_replace_all(tf.strings.join([" ", text, " "]), _ENDING_QUOTES)
    text = regex_replace_all(text, _CONTRACTIONS)
    return tf.strings.split(text)
