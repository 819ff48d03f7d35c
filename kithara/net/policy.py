"""Where requests may go, and what they may carry there."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from ..errors import PolicyDenied, ProtocolViolation, RedirectRejected

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IsPrivate = Callable[[Address], bool]

PORTS = {"http": 80, "https": 443}
MAX_URL = 64 << 10

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")


class Origin(NamedTuple):
    """Scheme, host and port: who a secret belongs to."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that may be requested, in the one form that is checked, compared and sent.

    Attributes:
        text: The URL without user info and fragment; path and query are the bytes that go on the wire.
        origin: Who answers.
        address: The host as an IP address when it is one, in whatever notation it was written.
        authorization: The ``Authorization`` that the URL's user info stands for, or None.
    """

    text: str
    origin: Origin
    address: Address | None
    authorization: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a fetched document may lead to: pass a `Document`'s to the requests that it names.

    Attributes:
        origin: Who may see the caller's secrets.
        private: Whether the document came from a private address, so that it may lead to others.
        secure: Whether it came by TLS, so that what it names must, too.
    """

    origin: Origin
    private: bool
    secure: bool


def is_private(address: Address) -> bool:
    """Whether *address* is not on the public internet, also when it is wrapped into an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(inner)
        if address.is_site_local:
            return True
    return not address.is_global or address.is_multicast


def parse(url: str, *, operation: str = "opening") -> Target:
    """*url* as something that may be requested.

    Blanks and non-ASCII characters are percent-encoded, the rest of path and query stays as it is.
    Raises `PolicyDenied` for another scheme than http and https, and for what is no URL.
    """

    def refuse(why: str) -> PolicyDenied:
        return PolicyDenied(why, url=url, operation=operation)

    if len(url) > MAX_URL:
        raise refuse(f"a URL of more than {MAX_URL} characters")
    url = url.strip(" ")
    if any(ch < " " or ch == "\x7f" for ch in url):
        raise refuse("a control character in the URL")
    url = quote(url.encode("utf-8", "surrogateescape"), safe="".join(map(chr, range(0x21, 0x7F))))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise refuse(f"not a URL: {exc}") from None
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise refuse(f"only http and https URLs can be fetched, not {scheme or 'a path'!r}")
    userinfo, _, _ = parts.netloc.rpartition("@")
    if "\\" in parts.netloc:
        raise refuse("a backslash in the host of the URL")
    host, address = _host(parts.hostname or "", refuse)
    port = PORTS[scheme] if port is None else port
    if port == 0:
        raise refuse("port 0 in the URL")
    shown = f"[{host}]" if isinstance(address, ipaddress.IPv6Address) else host
    authority = shown if port == PORTS[scheme] else f"{shown}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return Target(
        text=f"{scheme}://{authority}{parts.path or '/'}{query}",
        origin=Origin(scheme, host, port),
        address=address,
        authorization=_basic(userinfo) if userinfo else None,
    )


def _host(host: str, refuse: Callable[[str], PolicyDenied]) -> tuple[str, Address | None]:
    if not host:
        raise refuse("no host in the URL")
    if ":" in host:
        try:
            address: Address = ipaddress.IPv6Address(host)
        except ValueError:
            raise refuse("not an IPv6 address in the URL") from None
        if "%" in host:
            raise refuse("an IPv6 zone in the URL")
        return address.compressed, address
    name = unquote_to_bytes(host).decode("utf-8", "replace")
    try:
        name = name.encode("ascii").decode() if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        raise refuse("not a host name in the URL") from None
    name = name.lower()
    if not _NAME.fullmatch(name) or ".." in name or len(name) > 254:
        raise refuse("not a host name in the URL")
    if _NUMERIC_LABEL.fullmatch(name.rstrip(".").rpartition(".")[2]):
        # What resolvers take for an IPv4 address in octal, hexadecimal or with fewer dots (inet_aton) must not
        # look like a name to the checks below.
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(name.rstrip(".")))
        except OSError:
            raise refuse("not an IPv4 address in the URL") from None
        return str(address), address
    return name, None


def _basic(userinfo: str) -> str:
    user, _, password = userinfo.partition(":")
    return basic_authorization(unquote_to_bytes(user), unquote_to_bytes(password))


def basic_authorization(user: str | bytes, password: str | bytes) -> str:
    """The ``Authorization`` header of RFC 7617 for *user* and *password*."""
    raw_user = user.encode() if isinstance(user, str) else user
    raw_password = password.encode() if isinstance(password, str) else password
    return "Basic " + base64.b64encode(raw_user + b":" + raw_password).decode("ascii")


def follow(current: Target, location: str | None, status: int, *, allow_downgrade: bool) -> Target:
    """Where a redirect from *current* leads. Its user info is not used.

    Raises `ProtocolViolation` without a usable Location, `RedirectRejected` for another scheme or a downgrade.
    """
    operation = "following a redirect"
    if not location:
        raise ProtocolViolation(f"status {status} without a Location", url=current.text, operation=operation)
    try:
        joined = urljoin(current.text, location.strip(" "))
        scheme = urlsplit(joined).scheme.lower()
    except ValueError:
        raise ProtocolViolation("a Location that is no URL", url=current.text, operation=operation) from None
    if scheme not in PORTS:
        raise RedirectRejected(f"a redirect to {scheme!r}, not to http or https", url=current.text, operation=operation)
    try:
        target = parse(joined, operation=operation)
    except PolicyDenied as exc:
        why = f"a Location that is no URL: {exc.args[0]}"
        raise ProtocolViolation(why, url=current.text, operation=operation) from None
    if downgrades(current.origin.scheme, target, allow_downgrade):
        raise RedirectRejected(
            "a redirect from https to http; allow_downgrade=True would follow it", url=current.text, operation=operation
        )
    return target


def downgrades(scheme: str, target: Target, allowed: bool) -> bool:
    """Whether going from *scheme* to *target* gives up TLS against the rules."""
    return scheme == "https" and target.origin.scheme == "http" and not allowed
