"""The states of training captions after the frozen layers of a text encoder, computed once."""

import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from hslm_tf.data.atomic_write import atomic_write, take_room
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.progress import ProgressBar
from hslm_tf.fingerprint import weights_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.models.transformer_encoder import states_of_tokens
from hslm_tf.text.split_captions import cache_folder
from hslm_tf.text.tokenizer import TokenizedCaptions

logger = logging.getLogger("hslm_tf")

_BLOCK_SIZE = 128


class TokenStates:
    """States of the tokens of many captions, one caption after the other."""

    # Every caption has two more states than tokens, those of `[CLS]` and `[SEP]`.
    def __init__(self, states: np.ndarray, tokens: TokenizedCaptions) -> None:
        self.width = states.shape[1]
        self._states, self._offsets = states, _offsets(tokens)

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """States of some captions, float16 `[len(rows), longest + 2, width]`."""
        rows = np.asarray(rows)
        starts, stops = self._offsets[rows], self._offsets[rows + 1]
        padded = np.zeros((len(rows), (stops - starts).max(initial=2), self.width), np.float16)
        for row, start, stop in zip(padded, starts, stops, strict=True):
            row[: stop - start] = self._states[start:stop]
        return padded


def token_states(model: HSLM, tokens: TokenizedCaptions) -> TokenStates | None:
    """Computes the states, or opens what another run has kept; None if no layer is frozen."""
    if not model.config.pretrained_text or not model.config.freeze_layers:
        return None
    frozen = states_of_tokens(model.text_encoder)
    shape = int(_offsets(tokens)[-1]), frozen.output.shape[-1]
    content = weights_fingerprint([*frozen.weights, tokens.ids, tokens.offsets], model.policy_name)
    path = cache_folder() / f"states-{content[:32]}.npy"
    try:
        return TokenStates(_opened(path, shape), tokens)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        logger.info("%s is no cache of states and is written again: %s", path, error)
    with atomic_write(path) as draft:
        _write(draft, shape, frozen, tokens)
    return TokenStates(_opened(path, shape), tokens)


def _offsets(tokens: TokenizedCaptions) -> np.ndarray:
    """Where the states of every caption begin and end."""
    return tokens.offsets + 2 * np.arange(len(tokens.offsets))


def _opened(path: Path, shape: tuple[int, int]) -> np.ndarray:
    states = np.load(path, mmap_mode="r")
    if (states.shape, states.dtype) != (shape, np.float16):
        raise ValueError(f"it holds {states.dtype} {states.shape}, expected float16 {shape}")
    return states


def _write(
    path: Path, shape: tuple[int, int], frozen: keras.Model, tokens: TokenizedCaptions
) -> None:
    states = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    with open(path, "r+b") as file:
        take_room(file.fileno(), path.stat().st_size)
    states_of = tf.function(
        lambda ids: tf.cast(frozen({"token_ids": ids}, training=False), tf.float16),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    # Captions of one length have no padding.
    order, offsets = np.argsort(np.diff(tokens.offsets), kind="stable"), _offsets(tokens)
    with ProgressBar(len(tokens), "captions", "frozen layers") as bar:
        for places in row_blocks(len(order), _BLOCK_SIZE):
            rows = order[places]
            block = states_of(tokens.padded(rows)).numpy()
            for row, of_caption in zip(rows, block, strict=True):
                start, stop = offsets[row], offsets[row + 1]
                states[start:stop] = of_caption[: stop - start]
            bar.update(len(rows))
    states.flush()
