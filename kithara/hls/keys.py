"""AES-128 of HLS: keys checked, initialization vectors derived, segments decrypted as they arrive (RFC 8216, 5.2).

CBC without a MAC gives no integrity: a wrong key is known by bad padding, one time in 256 not even by that. Keys
never appear in a message, a repr or an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from ..errors import DecryptFailed, KeyInvalid, Unsupported
from .model import Key, MediaSegment

BLOCK = 16
MAX_KEY_BYTES = 1024
"""What is read of a key at most; more is no key, wrapped or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyContext:
    """What a key processor may want to know of the key it is given.

    Attributes:
        url: The key's URL, whole: it may hold a token, so it is not shown in the repr.
        playlist_url: The media playlist that names it; not shown either.
        iv: The explicit IV, or None.
    """

    url: str = field(repr=False)
    playlist_url: str = field(repr=False)
    iv: bytes | None = field(default=None, repr=False)


KeyProcessor = Callable[[bytes, KeyContext], "bytes | Awaitable[bytes]"]
"""Turns what the key server sent into the 16 bytes that decrypt; may be a coroutine function."""


class ContentKey:
    """Sixteen bytes that decrypt segments. Shows nothing of itself, and is not pickled.

    Raises KeyInvalid for any other number of bytes.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes, *, url: str | None = None) -> None:
        if len(secret) != BLOCK:
            raise KeyInvalid(f"a key of {len(secret)} bytes instead of {BLOCK}", url=url)
        self._secret = bytes(secret)

    def __repr__(self) -> str:
        return "ContentKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a content key is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentKey) and self._secret == other._secret

    def __hash__(self) -> int:
        return hash((ContentKey, self._secret))

    def reveal(self) -> bytes:
        """The bytes themselves, to be stored for offline use."""
        return self._secret

    def decryptor(self, iv: bytes, *, url: str | None = None) -> Decryptor:
        """A decryptor for one segment; *url* is named when it fails."""
        return Decryptor(self._secret, iv, url=url)


class Decryptor:
    """Decrypts one segment block by block as it comes; holds back the last 16 bytes until `finish` has judged them."""

    __slots__ = ("_cipher", "_held", "_length", "_url")

    def __init__(self, secret: bytes, iv: bytes, *, url: str | None = None) -> None:
        self._cipher = Cipher(AES(secret), CBC(iv)).decryptor()
        self._held = b""
        self._length = 0
        self._url = url

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """The plain bytes that *data* adds; b"" while a block is incomplete."""
        self._length += len(data)
        plain = self._held + self._cipher.update(data)
        if len(plain) <= BLOCK:
            self._held = plain
            return b""
        self._held = plain[-BLOCK:]
        return plain[:-BLOCK]

    def finish(self) -> bytes:
        """The last plain bytes, 0 to 15, once padding and length are right.

        Raises DecryptFailed, saying the same whatever is wrong.
        """
        held = self._held
        count = held[-1] if held else 0
        sound = (
            self._length > 0
            and self._length % BLOCK == 0
            and 1 <= count <= BLOCK
            and held[-count:] == bytes([count]) * count
        )
        if not sound:
            raise DecryptFailed("the segment does not decrypt with its key", url=self._url)
        return held[:-count]


def require_supported(key: Key, *, url: str | None = None) -> Key:
    """*key* itself when its segments can be decrypted. Raises Unsupported for other methods and key formats."""
    if not key.supported:
        kind = key.method if key.keyformat == "identity" else f"{key.method} with key format {key.keyformat}"
        raise Unsupported(f"encryption {kind} is not supported", url=url)
    return key


def segment_iv(key: Key, sequence: int) -> bytes:
    """The IV of the segment numbered *sequence*: the explicit one, else the number as 128 bits, big endian."""
    return key.iv if key.iv is not None else sequence.to_bytes(BLOCK, "big")


def segment_decryptor(content: ContentKey, segment: MediaSegment) -> Decryptor:
    """A decryptor for *segment*, which must be encrypted. Raises Unsupported."""
    assert segment.key is not None
    key = require_supported(segment.key, url=segment.uri)
    return content.decryptor(segment_iv(key, segment.sequence), url=segment.uri)
