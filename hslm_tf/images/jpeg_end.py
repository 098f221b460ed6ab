"""Where the picture in a JPEG ends; decoders fill what is missing with grey and do not say so."""

import re

# Markers that begin a segment; restart markers and stuffed bytes stand inside the picture.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
_END = b"\xd9"
# Read as a picture, these bytes are no grey. Where a picture has restart markers, a decoder that
# waits for one of the eight skips all that comes before it.
_FILLER = b"".join(
    bytes(place * 167 % 251 for place in range(1, 200)) + bytes([0xFF, 0xD0 + restart % 8])
    for restart in range(16)
)


def picture_end(content: bytes) -> int | None:
    """Finds the end of the first picture.

    Args:
        content: content of a JPEG, with previews, trailers, or more pictures perhaps.

    Returns:
        Position of its end marker, or None if there is none: the file was cut off, or is filled up
        with zeros as an interrupted download is.
    """
    place = 2
    while found := _MARKER.search(content, place):
        if found[1] == _END:
            return found.start()
        # A preview inside a segment has an end marker of its own.
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    return None


def with_filler(content: bytes, end: int) -> bytes:
    """Puts more data than there is at the end of a picture.

    A decoder needs none of it where the picture is complete: the pixels stay the same. Where the
    picture was cut off and closed by an end marker, the decoder takes it for what is missing.
    A progressive picture that lacks fine scans alone is whole, and coarser: it stays as it is, too.

    Args:
        content: content of a JPEG.
        end: position of the end marker of its first picture.

    Returns:
        The first picture with more data.
    """
    return content[:end] + _FILLER + b"\xff" + _END
