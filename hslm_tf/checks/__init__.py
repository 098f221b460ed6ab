"""A report on a data set: its contents, and faults that would stop a training."""
