"""URI references of a playlist, made absolute and fit for the wire without touching a byte that is legal there.

RFC 3986, section 5.2, written out: `urllib.parse.urljoin` drops empty path segments and empty queries, which
breaks signed URLs.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote_to_bytes, urlsplit

# RFC 3986, appendix B
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(?::[0-5]?\d{1,4})?/")
_REFUSED = re.compile(r"[\x00-\x0a\x0d-\x1b\x1f\x7f]")  # what is left are separators that end no line of a playlist
_ENCODED = re.compile(r'[\x0b\x0c\x1c-\x1e "<>]|[^\x00-\x7f]')
_HOST = re.compile(r'[^\s"<>\\]+')
_WEB = ("http", "https")


class UriBase:
    """Resolves references against *url*, the address a playlist came from after redirects.

    From the web only ``http`` and ``https`` can be reached; a local playlist may also name files beside it.
    """

    def __init__(self, url: str) -> None:
        scheme, self._authority, path, query, _ = _split(url)
        self._scheme = None if scheme is None else scheme.lower()
        self._path = _encode(path)
        self._query = _encode(query or "")
        self._directory = self._merge("", "")
        self._root = self._compose(self._authority, "", "")

    def resolve(self, reference: str, *, data: bool = False) -> str:
        """*reference* as an absolute URL. *data* allows ``data:`` URLs too.

        Raises ValueError, with the reason, for control characters, a missing host and schemes that may not be reached.
        """
        if _is_simple(reference):
            if ":" not in reference and reference[0] not in "/?.#":
                return self._directory + reference
            if reference[0] == "/" and reference[1:2] != "/":
                return self._root + reference
            if _ORIGIN.match(reference):
                return reference
        if _REFUSED.search(reference):
            raise ValueError("control character in a URI")
        scheme, authority, path, query, fragment = _split(reference)
        if scheme is not None:
            scheme = scheme.lower()
            if scheme == "data" and data:
                return reference
            self._admit(scheme)
        tail = _encode((query or "") + (fragment or ""))
        if scheme is None and authority is None:
            if not path:
                return self._compose(self._authority, self._path, tail if query is not None else self._query + tail)
            if not path.startswith("/"):
                return self._merge(_encode(path), tail)
            authority = self._authority
        elif (scheme or self._scheme) in _WEB and not _is_host(authority):
            raise ValueError("a URL without a proper host")
        return self._compose(authority, _without_dots(_encode(path)), tail, scheme)

    def _admit(self, scheme: str) -> None:
        if scheme not in _WEB and (scheme != self._scheme or self._scheme != "file"):
            raise ValueError(f"scheme {scheme!r} may not be reached from a playlist")

    def _merge(self, path: str, tail: str) -> str:
        base = self._path[: self._path.rfind("/") + 1] or ("/" if self._authority is not None else "")
        return self._compose(self._authority, _without_dots(base + path), tail)

    def _compose(self, authority: str | None, path: str, tail: str, scheme: str | None = None) -> str:
        scheme = scheme or self._scheme
        return f"{scheme + ':' if scheme else ''}{'' if authority is None else '//' + authority}{path}{tail}"


def data_url_bytes(url: str) -> bytes:
    """The bytes that a ``data:`` URL holds. Raises ValueError when it is none or cannot be read."""
    head, comma, body = url.partition(",")
    if not comma or not head[:5].lower() == "data:":
        raise ValueError("a data URL that cannot be read")
    plain = unquote_to_bytes(body)
    return base64.b64decode(plain, validate=True) if head.lower().endswith(";base64") else plain


def _is_simple(text: str) -> bool:
    """Whether *text* needs no escapes and no dots removed, like nearly every line of a real playlist."""
    return (
        text.isascii()
        and text.isprintable()
        and "/." not in text
        and " " not in text
        and '"' not in text
        and "<" not in text
        and ">" not in text
        and text != ""
    )


def _is_host(authority: str | None) -> bool:
    """Whether a request can be made of *authority*: host, perhaps with user info and port."""
    if authority is None or not _HOST.fullmatch(authority):
        return False
    try:
        return bool(urlsplit(f"//{authority}").port != 0)
    except ValueError:
        return False


def _split(text: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    match = _PARTS.fullmatch(text)
    assert match is not None  # every string matches
    scheme, authority, path, query, fragment = match.groups()
    return scheme, authority, path, query, fragment


def _encode(text: str) -> str:
    return _ENCODED.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace")), text)


def _without_dots(path: str) -> str:
    if "." not in path:
        return path
    rooted = path.startswith("/")
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == "..":
            if len(kept) > rooted:
                kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
