"""How an HLS presentation is played: one frozen value, validated when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..abr import AbrOptions
from ..events import EventBus
from ..net import HttpClient, HttpOptions
from .keys import KeyProcessor


@dataclass(frozen=True, slots=True, kw_only=True)
class HlsOptions:
    """How an HLS presentation is played.

    Attributes:
        variant: ``"auto"``, or the index of the variant to play and no other.
        look_ahead: Seconds beyond the listener that are fetched at most; bytes are limited too, by `look_ahead_bytes`.
        look_ahead_bytes: Bytes beyond the listener that are fetched at most.
        key_processor: Turns what the key server sent into the key. Called in a worker thread; may be a coroutine
            function.
        store_keys: Whether processed keys are kept in the cache (mode 0600), so that offline play can decrypt.
        abr: How a variant is chosen.
        language: Preferred language of alternative audio, as in the playlist.
        splice: ``"smooth"`` lets one decoder play on across a change of variant: no byte more is fetched, and for one
            packet a lossy codec sounds like the variant before. ``"exact"`` fetches the new variant's segment before,
            too, and primes a new decoder with it: what is heard from the change on is sample for sample what the new
            variant alone gives. Where that segment cannot be had, or a download was given up, it is ``"smooth"``.
            Where codec or rate change there is a new decoder either way, primed like that, and both blend over 20 ms.
        http: Limits of the HTTP client, or the client itself.
        bus: Where events are published; None: a bus of its own.
        event_capacity: How many events a slow listener keeps.
        query: Names of query parameters of the playlist's URL that choose another presentation and so are part of its
            name in the cache; ``("*",)`` for all. By default none is: a signed URL names the same tomorrow.

    Raises ValueError for values that make no sense.
    """

    variant: int | Literal["auto"] = "auto"
    look_ahead: float = 120.0
    look_ahead_bytes: int = 16 << 20
    key_processor: KeyProcessor | None = None
    store_keys: bool = True
    abr: AbrOptions = field(default_factory=AbrOptions)
    language: str | None = None
    splice: Literal["smooth", "exact"] = "smooth"
    http: HttpOptions | HttpClient | None = None
    bus: EventBus | None = None
    event_capacity: int = 64
    query: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.variant != "auto" and not (isinstance(self.variant, int) and self.variant >= 0):
            raise ValueError(f"variant={self.variant!r}: expected 'auto' or an index")
        if not 0 < self.look_ahead < float("inf") or self.look_ahead_bytes < 1:
            raise ValueError("look_ahead and look_ahead_bytes must be positive")
        if self.splice not in ("smooth", "exact"):
            raise ValueError(f"splice={self.splice!r}: expected 'smooth' or 'exact'")
        if isinstance(self.query, str):
            raise ValueError(f"query={self.query!r}: expected a tuple of names, ('*',) for all")
        if self.event_capacity < 1:
            raise ValueError(f"event_capacity={self.event_capacity}: must be positive")


HlsParams = HlsOptions
