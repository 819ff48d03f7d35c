"""EBML, the grammar of Matroska (RFC 8794): elements inside a buffer, and the packets of a laced block (RFC 9559)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["UNKNOWN", "Element", "element_at", "inside", "real", "unlaced", "unsigned"]

UNKNOWN = -1
"""The stop of an element that does not tell its size."""


class Element(NamedTuple):
    """An EBML element: its id, and the span of its body (`UNKNOWN` stop: until something of a higher level)."""

    id: int
    start: int
    stop: int


def element_at(data: bytes, at: int) -> Element | None:
    """The element whose header is at *at*, or None when that is cut off or damaged."""
    if at >= len(data) or not data[at]:
        return None
    width = 9 - data[at].bit_length()
    start = at + width
    if width > 4 or start >= len(data) or not data[start]:
        return None
    length = 9 - data[start].bit_length()
    if start + length > len(data):
        return None
    number = int.from_bytes(data[at:start], "big")
    size = int.from_bytes(data[start : start + length], "big") & (1 << 7 * length) - 1
    body = start + length
    return Element(number, body, UNKNOWN if size == (1 << 7 * length) - 1 else body + size)


def inside(data: bytes, start: int, stop: int) -> Iterator[Element]:
    """The elements in ``data[start:stop]``; damage ends the walk."""
    while start < stop:
        element = element_at(data, start)
        if element is None or element.stop == UNKNOWN or element.stop > stop:
            return
        yield element
        start = element.stop


def unsigned(data: bytes, element: Element) -> int:
    """The unsigned integer in *element* (RFC 8794, 7.2)."""
    return int.from_bytes(data[element.start : element.stop], "big")


def real(data: bytes, element: Element) -> float:
    """The float in *element* (RFC 8794, 7.3); 0.0 for one of an unknown size."""
    body = data[element.start : element.stop]
    if len(body) == 4:
        return float(struct.unpack(">f", body)[0])
    return float(struct.unpack(">d", body)[0]) if len(body) == 8 else 0.0


def unlaced(body: memoryview) -> list[memoryview]:
    """The packets in a block, behind its time stamp (RFC 9559, 10.3); none where their sizes are damaged."""
    try:
        sizes, at = _laced_sizes(body)
    except IndexError:  # cut off
        return []
    packets = []
    for size in sizes:
        if size < 0:
            break
        packets.append(body[at : at + size])
        at += size
    return packets


def _laced_sizes(body: memoryview) -> tuple[list[int], int]:
    """The sizes of the packets in *body*, and where the first begins."""
    lacing = body[0] >> 1 & 3
    if not lacing:
        return [len(body) - 1], 1
    count, at = body[1] + 1, 2
    sizes: list[int] = []
    if lacing == 2:
        return [(len(body) - at) // count] * count, at
    for k in range(count - 1):
        if lacing == 1:
            size = 0
            while True:
                byte, at = body[at], at + 1
                size += byte
                if byte < 255:
                    break
        else:
            width = 9 - body[at].bit_length()
            size = int.from_bytes(body[at : at + width], "big") & (1 << 7 * width) - 1
            at += width
            if k:
                size += sizes[-1] - (1 << 7 * width - 1) + 1
        sizes.append(size)
    sizes.append(len(body) - at - sum(sizes))
    return sizes, at
