"""The error of a data file that is missing or wrong."""

# A message that quotes a damaged file may be as long as the file.
_LONGEST = 2000


class DataError(ValueError):
    """A data file does not hold what its format says.

    Args:
        message: names the file and the place. It becomes one line, and of one that is very long
            its beginning and its end are kept.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
        super().__init__(line)
