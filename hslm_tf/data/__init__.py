"""Data sets: a folder in the precomputed format or one HDF5 file, and the built-in sample.

`hslm_tf.data.convert` makes them of the files of other tools. The `tf.data` pipeline is in
`hslm_tf.data.pipeline`, which imports TensorFlow.
"""

from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.loading import load_dataset
from hslm_tf.data.sample import load_sample

__all__ = [
    "DataError",
    "RetrievalDataset",
    "load_dataset",
    "load_sample",
]
