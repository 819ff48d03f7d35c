"""What a partial file remembers of itself: which bytes are trusted, and of which representation they are.

The form on disk is eight hexadecimal digits of CRC-32, a line feed, and JSON. Whatever is not exactly that is no
sidecar: `decode` answers None and the partial is begun anew.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeGuard

VERSION = 1
SIZE_LIMIT = 64 << 10

Runs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What identifies a representation, from the headers that brought it (RFC 9110 8.8)."""

    total: int | None = None
    """Bytes in all."""
    etag: str | None = None
    """As sent, quotes and ``W/`` included."""
    last_modified: str | None = None
    date: str | None = None
    """The ``Date`` of that answer: says whether ``last_modified`` is strong."""
    content_type: str | None = None
    unvalidated: bool = False
    """Nothing proves that the pieces are of one representation, or that the end is the end."""

    def to_json(self) -> str:
        """As `from_json` takes it."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Self | None:
        """What `to_json` gave, or None for anything else."""
        try:
            return cls._checked(json.loads(text)) if text is not None else None
        except (ValueError, RecursionError):
            return None

    @classmethod
    def _checked(cls, facts: Any) -> Self | None:
        if not isinstance(facts, dict):
            return None
        total, unvalidated = facts.get("total"), facts.get("unvalidated")
        texts = {name: facts.get(name) for name in ("etag", "last_modified", "date", "content_type")}
        if not (total is None or _is_size(total)) or not isinstance(unvalidated, bool):
            return None
        if not all(text is None or isinstance(text, str) for text in texts.values()):
            return None
        return cls(total=total, unvalidated=unvalidated, **texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """One checkpoint of a partial file."""

    key: str
    """SHA-256 of the resource's key, so that a moved or swapped file is not taken for another."""
    generation: int
    """A random number that changes with the representation."""
    inode: int
    device: int
    validators: Validators
    ranges: Runs

    def vouches_for(self, key: str, facts: os.stat_result) -> bool:
        """Whether it is about the very file that *facts* are of, and that file can hold what it claims."""
        return (
            self.key == key
            and (self.inode, self.device) == (facts.st_ino, facts.st_dev)
            and facts.st_nlink == 1
            and all(stop <= facts.st_size for _, stop in self.ranges[-1:])
        )

    def encode(self) -> bytes:
        """The file's content: of too many runs the largest that fit into 64 KiB."""
        ranges = list(self.ranges)
        while len(content := self._encode(ranges)) > SIZE_LIMIT:
            excess = 1 - SIZE_LIMIT / len(content)
            keep = sorted(ranges, key=lambda run: run[0] - run[1])[: int(len(ranges) * (1 - excess) * 0.98)]
            ranges = sorted(keep)
        return content

    def _encode(self, ranges: list[tuple[int, int]]) -> bytes:
        content = {
            "v": VERSION,
            "key_sha": self.key,
            "gen": self.generation,
            "ino": self.inode,
            "dev": self.device,
            **asdict(self.validators),
            "ranges": ranges,
        }
        body = json.dumps(content, separators=(",", ":")).encode()
        return b"%08x\n%b" % (zlib.crc32(body), body)

    @classmethod
    def decode(cls, content: bytes) -> Self | None:
        """The checkpoint in *content*, or None when any of it is not as it was written."""
        crc, newline, body = content[:8], content[8:9], content[9:]
        if len(content) > SIZE_LIMIT or newline != b"\n" or crc != b"%08x" % zlib.crc32(body):
            return None
        try:
            facts = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(facts, dict) or facts.get("v") != VERSION:
            return None
        validators = Validators._checked(facts)
        ranges = _checked_ranges(facts.get("ranges"), validators.total if validators else None)
        key, generation, inode, device = (facts.get(name) for name in ("key_sha", "gen", "ino", "dev"))
        if validators is None or ranges is None or not isinstance(key, str):
            return None
        if not (_is_size(generation) and _is_size(inode) and _is_size(device)):
            return None
        return cls(
            key=key, generation=generation, inode=inode, device=device, validators=validators, ranges=ranges
        )


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _checked_ranges(value: object, total: int | None) -> Runs | None:
    """*value* as sorted, disjoint, half-open runs within *total*, or None."""
    if not isinstance(value, list):
        return None
    ranges = []
    end = -1
    for run in value:
        if not (isinstance(run, list) and len(run) == 2 and _is_size(run[0]) and _is_size(run[1])):
            return None
        start, stop = run
        if not end < start < stop:
            return None
        ranges.append((start, stop))
        end = stop
    return None if total is not None and end > total else tuple(ranges)
