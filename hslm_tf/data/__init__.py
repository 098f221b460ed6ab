"""Readers of the field's file formats, the dataset that they return, the built-in sample.

`hslm_tf.data.readers` lists the readers, `hslm_tf.data.loading` asks them.

The `tf.data` pipeline is in `hslm_tf.data.pipeline`, which imports TensorFlow.
"""

from hslm_tf.data.bottom_up_tsv import load_bottom_up_tsv
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.errors import DataError
from hslm_tf.data.hdf5 import load_hdf5
from hslm_tf.data.loading import load_dataset
from hslm_tf.data.precomputed import load_precomputed
from hslm_tf.data.sample import load_sample

__all__ = [
    "DataError",
    "RetrievalDataset",
    "load_dataset",
    "load_bottom_up_tsv",
    "load_hdf5",
    "load_precomputed",
    "load_sample",
]
