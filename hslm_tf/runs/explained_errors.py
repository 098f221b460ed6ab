"""Errors of TensorFlow that have a cause outside of it, in words."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from hslm_tf.data.errors import DataError
from hslm_tf.runs.checkpoints import last_checkpoint
from hslm_tf.runs.run_directory import RunDirectory

# What TensorFlow raises, depending on what it was waiting for, when a worker has gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.InternalError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


@contextlib.contextmanager
def explained_errors(run: RunDirectory, has_workers: bool) -> Iterator[None]:
    """Turns errors of TensorFlow whose cause is the data or another worker into errors that say so.

    Args:
        run: the run that is trained.
        has_workers: whether several workers train it.

    Yields:
        Nothing.

    Raises:
        DataError: if the data are broken.
        ConnectionError: if another worker has ended.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # Of an error in the pipeline, TensorFlow passes on the text only.
        if found := re.search(r"DataError: (.+)", error.message):
            raise DataError(found[1]) from None
        if not (has_workers and isinstance(error, _LOST)):
            raise
        raise ConnectionError(
            f"Another worker has ended, or cannot be reached. {last_checkpoint(run)}: the same "
            f"command on all workers goes on from there. TensorFlow says: {_reason(error)}"
        ) from error


def _reason(error: tf.errors.OpError) -> str:
    """The line of TensorFlow's message that says why; others say where."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    said = [line for line in lines if re.search("ollective|onnect|heartbeat", line)]
    return (said or lines or [type(error).__name__])[0]
