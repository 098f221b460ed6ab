"""One experiment: its directory, its training, and the recall of its models."""

import hslm_tf

hslm_tf.use_tensorflow()
