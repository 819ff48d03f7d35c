"""Functions for tests to send to other processes, which can import this module wherever the tests lie."""

from __future__ import annotations

import kithara


def frames(decoder: kithara.Decoder) -> int:
    """How many frames *decoder* gives."""
    return sum(len(block) for block in decoder.blocks(1 << 16))


def rest(reader: kithara.SyncReader) -> tuple[int, bytes]:
    """Where *reader* is, and everything from there on."""
    with reader:
        return reader.tell(), reader.read()
