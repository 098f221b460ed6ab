"""The error of a data file that is missing or wrong."""


class DataError(ValueError):
    """A data file does not hold what its format says; the message names the file and the place."""
