"""From captions as they are written to token ids.

Tokenization and lookup run in the TensorFlow graph: `hslm_tf.text.tokenization` and
`hslm_tf.text.tokenizer` import TensorFlow, vocabulary and word vectors do not.
"""

from hslm_tf.text.vocabulary import Vocabulary
from hslm_tf.text.word_vectors import load_word_vectors

__all__ = ["Vocabulary", "load_word_vectors"]
