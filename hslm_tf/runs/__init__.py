"""One experiment: its directory, its training, and the recall of its models."""
