"""HSLM: its three networks, and the model that joins them."""

import hslm_tf

hslm_tf.use_tensorflow()
