"""The built-in sample: a small slice of Flickr8k, for research and education only (see NOTICE)."""

from importlib.resources import files
from pathlib import Path

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.precomputed import load_precomputed


def sample_folder() -> Path:
    """Where the sample lies, in the precomputed format."""
    return Path(str(files("hslm_tf.data") / "sample"))


def sample_word_vectors() -> Path:
    """Where the GloVe vectors of the sample's words lie (PDDL, see `NOTICE`)."""
    return sample_folder() / "word_vectors.npz"


def load_sample(split: str) -> RetrievalDataset:
    """Opens a split of the built-in sample.

    Args:
        split: `train` (1,000 images), `dev` (100) or `test` (100), five captions each, 36
            regions of 128 dimensions.

    Returns:
        The dataset.

    Raises:
        DataError: if there is no such split.

    Example:
        >>> train = hslm_tf.load_sample("train")
    """
    return load_precomputed(sample_folder(), split, layout="per_image")
