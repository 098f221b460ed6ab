"""The one error of this package."""


class DataError(ValueError):
    """A data file does not hold what its format says; the message names the file and the place."""
