"""One call on a URL: who may see its secrets, and the way through redirects to an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import PolicyDenied, RedirectRejected
from ..version import __version__
from .headers import HARMLESS, checked
from .options import HttpOptions
from .policy import Origin, Target, Trust, basic_authorization, downgrades, follow, parse

if TYPE_CHECKING:
    from .exchange import Answer
    from .pool import Pool
    from .prompt import Prompt

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"kithara/{__version__}"

CALLS_KEPT = 32
"""URLs whose checks and headers are remembered: the ranges of one file are asked for again and again."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What stays the same through the redirects and repeats of a call.

    Attributes:
        target: What the caller named.
        headers: The caller's.
        authorization: The ``Authorization`` from user info or *auth*, or None.
        trust: That of the document which named the URL, or None when the caller did.
        until: When the call must be over, in the loop's time, or None.
        operation: What is being done, for errors.
    """

    target: Target
    headers: Mapping[str, str]
    authorization: str | None
    trust: Trust | None
    until: float | None
    operation: str
    home: Origin = field(init=False)
    """The one origin that may see the caller's secrets."""
    _at_home: dict[str, str] = field(init=False, repr=False)
    _away: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.trust.origin if self.trust else self.target.origin)
        object.__setattr__(self, "_at_home", self._headers(at_home=True))
        object.__setattr__(self, "_away", self._headers(at_home=False))

    def request_headers(self, wanted: Mapping[str, str], *, at_home: bool) -> dict[str, str]:
        """The headers of one request: *wanted*, and of the caller's all or only the harmless ones."""
        return {**(self._at_home if at_home else self._away), **wanted}

    def _headers(self, *, at_home: bool) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        for name, value in self.headers.items():
            if name.lower() in HARMLESS:
                headers[name.title()] = value
            elif at_home:
                headers[name] = value
        if at_home and self.authorization and "authorization" not in map(str.lower, self.headers):
            headers["Authorization"] = self.authorization
        return headers


class Calls:
    """The calls of one client: what is to be sent is checked, and what was checked lately is remembered.

    Args:
        options: The client's.
        headers: Sent with every call to the origin that the caller names.
    """

    def __init__(self, options: HttpOptions, headers: Mapping[str, str]) -> None:
        self._options = options
        self._headers = headers
        self._known: dict[object, Call] = {}

    def to(
        self,
        url: str,
        operation: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        trust: Trust | None = None,
    ) -> Call:
        """The call on *url*, whose time begins now. Raises `PolicyDenied`, or ValueError for a bad header."""
        asked = (url, None if headers is None else tuple(headers.items()), auth, trust, operation)
        call = self._known.get(asked)
        if call is None:
            call = self._checked(url, operation, headers, auth, trust)
            if len(self._known) >= CALLS_KEPT:
                del self._known[next(iter(self._known))]
            self._known[asked] = call
        total = self._options.total
        return call if total is None else replace(call, until=asyncio.get_running_loop().time() + total)

    def _checked(
        self,
        url: str,
        operation: str,
        headers: Mapping[str, str] | None,
        auth: tuple[str, str] | None,
        trust: Trust | None,
    ) -> Call:
        target = parse(url, operation=operation)
        if trust is not None and downgrades("https" if trust.secure else "http", target, self._options.allow_downgrade):
            raise PolicyDenied(
                "a document that came by https leads to http; allow_downgrade=True would follow it",
                url=url,
                operation=operation,
            )
        return Call(
            target=target,
            headers={**self._headers, **checked(headers)},
            authorization=basic_authorization(*auth) if auth else target.authorization,
            trust=trust,
            until=None,
            operation=operation,
        )


@dataclass(frozen=True, slots=True)
class Arrived:
    """An answer that is no redirect, with where it came from."""

    answer: Answer
    target: Target
    trust: Trust


async def arrive(
    pool: Pool,
    call: Call,
    wanted: Mapping[str, str],
    *,
    method: str = "GET",
    prompt: Prompt | None = None,
) -> Arrived:
    """Send the request of *call* with the headers *wanted*, and follow its redirects as far as the rules allow.

    A *prompt* is the first request, sent already.

    Raises `RedirectRejected`, `PolicyDenied`, `ProtocolViolation` and what `Pool.send` raises.
    """
    options = pool.options
    target = call.target
    at_home = target.origin == call.home
    private = call.trust.private if call.trust else True
    for _ in range(options.redirects + 1):
        answer = await pool.send(
            method,
            target,
            call.request_headers(wanted, at_home=at_home),
            guarded=options.allow_private is False or (options.allow_private is None and not private),
            until=call.until,
            operation=call.operation,
            prompt=prompt,
        )
        prompt = None
        peer = answer.peer if options.proxy is None else target.address
        private = peer is not None and pool.is_private(peer)
        if answer.status not in _REDIRECTS:
            secure = target.origin.scheme == "https"
            return Arrived(answer, target, Trust(origin=call.home, private=private, secure=secure))
        location, status = answer.headers.get("Location"), answer.status
        answer.close()
        target = follow(target, location, status, allow_downgrade=options.allow_downgrade)
        # Once away from home the caller's secrets stay off, even if a redirect leads back: it would be a stranger
        # who chose the request that carries them.
        at_home = at_home and target.origin == call.home
    raise RedirectRejected(f"more than {options.redirects} redirects", url=call.target.text, operation=call.operation)
