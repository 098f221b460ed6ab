"""Files of other tools, read one image at a time; `hslm_tf.data.convert` calls the readers."""
