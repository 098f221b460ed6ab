"""From photographs to region features."""

import hslm_tf

hslm_tf.use_tensorflow()
