"""Where a seek may go: the rules of positions in a file, apart from any I/O."""

from __future__ import annotations

from ..errors import InvalidSeek


def resolve_seek(position: int, *, length: int | None, known: int, url: str | None = None) -> int:
    """The offset that a seek to *position* goes to.

    Below 0 is clamped to 0. Past a known *length* is an error; while that is unknown, past the *known* bytes is clamped
    to their end. Repeating a seek gives the same.

    Raises:
        InvalidSeek: *position* is past the known length.
    """
    if position <= 0:
        return 0
    if length is None:
        return min(position, known)
    if position > length:
        raise InvalidSeek(f"position {position} is past the length {length}", url=url, operation="seeking")
    return position
