"""One call on a URL: who may see its secrets, and the way through redirects to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import RedirectRejected
from ..version import __version__
from .headers import HARMLESS
from .options import HttpOptions
from .policy import IsPrivate, Origin, Target, Trust, follow

if TYPE_CHECKING:
    from .exchange import Answer
    from .pool import Pool
    from .prompt import Prompt

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"kithara/{__version__}"


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
    options: HttpOptions,
    is_private: IsPrivate,
    method: str = "GET",
    prompt: Prompt | None = None,
) -> Arrived:
    """Send the request of *call* with the headers *wanted*, and follow its redirects as far as the rules allow.

    A *prompt* is the first request, sent already.

    Raises `RedirectRejected`, `PolicyDenied`, `ProtocolViolation` and what `Pool.send` raises.
    """
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
        private = peer is not None and is_private(peer)
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
