"""What a cached thing is called: the identity of an asset, the key of a resource, and their safe names on disk.

A name is *encoded*, never sanitised by deletion, so that two different keys have two different paths even on a
file system that folds case or normalises Unicode, and no key can leave the root, hit a device name or be taken
for one of the cache's own files.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode, urlsplit

from ..errors import InvalidKey, redact_url

NAME_LIMIT = 96
"""Bytes of one encoded component. File systems allow 255; suffixes and temporary names need room."""

DEPTH_LIMIT = 16
"""Components of one relative path."""

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")
_NAME = re.compile(r"(?:[a-z0-9._~-]|%[0-9a-f]{2})+")
_TAKEN = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)|kithara\.root$")
_OURS = (".part", ".meta", ".live", ".tmp")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNRESERVED_AND_DELIMITERS = "/!$&'()*+,;=:@~-._"


def encode_component(text: str) -> str:
    """One path component as a safe file name: lower-case ASCII, at most 96 bytes, injective but for SHA-256.

    Raises:
        InvalidKey: *text* is empty.
    """
    if not text:
        raise InvalidKey("an empty path component names no file")
    raw = text.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw)
    if name[0] in "._" or _TAKEN.match(name):
        name = f"%{ord(name[0]):02x}{name[1:]}"
    if name.endswith((".", *_OURS)):
        stem, _, suffix = name.rpartition(".")
        name = f"{stem}%2e{suffix}"
    if len(name) > NAME_LIMIT:
        digest = hashlib.sha256(raw).hexdigest()[:32]
        head = name[: NAME_LIMIT - 1 - len(digest)]
        cut = head.rfind("%", len(head) - 2)
        name = f"{head if cut < 0 else head[:cut]}~{digest}"
    return name


def _reserved(name: str) -> bool:
    """Whether the file system, or the cache for files of its own, gives *name* a meaning."""
    return name[0] in "._" or name.endswith((".", *_OURS)) or _TAKEN.match(name) is not None


def canonical_url(url: str, *, query: Collection[str] = ()) -> str:
    """*url* in the form that identifies its representation: RFC 3986 6.2.2 normalised, without secrets.

    User info and fragment go, and of the query all but the parameters named in *query* (``"*"`` names all),
    which are sorted by name.

    Raises:
        InvalidKey: *url* has no scheme or host, or cannot be parsed.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidKey("a URL that cannot be parsed names no asset", url=url) from exc
    if not parts.scheme or not host:
        raise InvalidKey("a URL without scheme or host names no asset", url=url)
    authority = f"[{host}]" if ":" in host else _ascii_host(host)
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        authority = f"{authority}:{port}"
    path = _remove_dot_segments(quote(_path_bytes(parts.path), safe=_UNRESERVED_AND_DELIMITERS + "%")) or "/"
    significant = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if "*" in query or name in query
    ]
    significant.sort(key=lambda pair: pair[0])
    tail = f"?{urlencode(significant)}" if significant else ""
    return f"{parts.scheme}://{authority}{path}{tail}"


def _ascii_host(host: str) -> str:
    host = host.rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return quote(unicodedata.normalize("NFC", host))


def _path_bytes(path: str) -> bytes:
    """Escapes of unreserved characters undone, all others in upper case: ``%7e%2F`` → ``~%2F``."""
    raw = path.encode("utf-8", "surrogatepass")
    out = bytearray()
    at = 0
    while at < len(raw):
        escape = raw[at : at + 3]
        if re.fullmatch(rb"%[0-9A-Fa-f]{2}", escape):
            byte = unquote_to_bytes(escape)
            plain = byte.isalnum() or byte in b"-._~"
            out += byte if plain else escape.upper()
            at += 3
        else:
            out += b"%25" if escape[:1] == b"%" else escape[:1]
            at += 1
    return bytes(out)


def _remove_dot_segments(path: str) -> str:
    """RFC 3986 5.2.4 for an absolute path."""
    out: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(out) > 1:
                out.pop()
        elif segment != ".":
            out.append(segment)
    if segments[-1] in (".", ".."):
        out.append("")
    return "/".join(out)


class AssetId(str):
    """The identity of an asset, and the name of its directory: printable, safe, without secrets.

    Raises:
        InvalidKey: The text is not a name that this package gives. `AssetId.named` encodes any text.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> Self:
        if isinstance(name, cls):
            return name
        if len(name) > NAME_LIMIT or not _NAME.fullmatch(name) or _reserved(name):
            raise InvalidKey(f"{name[:NAME_LIMIT]!a} is no asset's name; AssetId.named(text) makes one")
        return super().__new__(cls, name)

    @classmethod
    def named(cls, text: str) -> Self:
        """The asset that the caller calls *text*."""
        return cls(encode_component(text))

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        query: Collection[str] = (),
        discriminator: str | None = None,
        credentials: str | bytes | None = None,
    ) -> Self:
        """The asset behind *url*: scheme, host, port and path, neither query nor fragment.

        Args:
            query: Names of query parameters that choose another representation, for services whose query is
                significant; ``"*"`` for all.
            discriminator: Whatever else tells two assets of one URL apart.
            credentials: What the request proves itself with. Answers to one user never reach another:
                each set of credentials has assets of its own. User info in *url* counts as such.
        """
        canonical = canonical_url(url, query=query)
        secret = credentials.encode() if isinstance(credentials, str) else credentials
        user, at, _ = urlsplit(url).netloc.rpartition("@")
        if secret is None and at:
            secret = user.encode("utf-8", "surrogatepass")
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogatepass"))
        extra = None if discriminator is None else discriminator.encode("utf-8", "surrogatepass")
        for tag, value in ((b"d", extra), (b"c", secret)):
            if value is not None:
                identity.update(b"\0" + tag + hashlib.sha256(value).digest())
        return cls(identity.hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class ResourceKey:
    """The address of one resource: its asset, and its path within.

    ``asset_root`` is stored as an `AssetId`; any other text is encoded into one. ``label`` is what people are shown
    (a redacted URL) and takes no part in the identity.

    Raises:
        InvalidKey: A component of the path is empty (so it is absolute, or ends in ``/``), or there are too many.
    """

    asset_root: str
    rel_path: str
    label: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.asset_root, AssetId):
            object.__setattr__(self, "asset_root", AssetId.named(self.asset_root))
        if not 0 < len(self.components) <= DEPTH_LIMIT:
            raise InvalidKey(f"{self.rel_path[:NAME_LIMIT]!a} has more than {DEPTH_LIMIT} components")

    @property
    def asset_id(self) -> AssetId:
        """The asset it belongs to."""
        return AssetId(self.asset_root)

    @property
    def components(self) -> tuple[str, ...]:
        """The encoded path within the asset's directory, piece by piece."""
        return tuple(encode_component(component) for component in self.rel_path.split("/"))

    @property
    def path(self) -> str:
        """The encoded path below the cache's root."""
        return "/".join((self.asset_root, *self.components))

    @classmethod
    def from_url(
        cls,
        url: str,
        rel_path: str = "file/body",
        *,
        query: Collection[str] = (),
        discriminator: str | None = None,
        credentials: str | bytes | None = None,
    ) -> Self:
        """The resource *rel_path* of the asset behind *url*; the arguments are those of `AssetId.from_url`."""
        asset = AssetId.from_url(url, query=query, discriminator=discriminator, credentials=credentials)
        return cls(asset, rel_path, redact_url(url))
