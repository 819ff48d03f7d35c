"""Where a seek may go: the rules of positions in a file, apart from any I/O."""

from __future__ import annotations

from ..errors import InvalidSeek, SeekNotSupported


def resolve_seek(position: int, *, length: int | None, known: tuple[int, int], url: str | None = None) -> int:
    """The offset that a seek to *position* goes to.

    Below 0 is clamped to 0. Past a known *length* is an error; while that is unknown, past the *known* bytes is clamped
    to their end. Repeating a seek gives the same.

    Args:
        known: Start and stop of the bytes known so far. They start past 0 where the first ones are gone for good.

    Raises:
        InvalidSeek: *position* is past the known length.
        SeekNotSupported: *position* is among those that are gone.
    """
    position = max(0, position)
    if position < known[0]:
        raise SeekNotSupported(
            f"position {position} has passed: the first byte that is kept is {known[0]}", url=url, operation="seeking"
        )
    if length is None:
        return min(position, known[1])
    if position > length:
        raise InvalidSeek(f"position {position} is past the length {length}", url=url, operation="seeking")
    return position
