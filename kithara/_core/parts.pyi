from collections.abc import Callable, Iterable
from typing import Any

from typing_extensions import disjoint_base

from .store import Store

@disjoint_base
class Part:
    source: Store | Callable[[], Store]
    length: int | None
    close: Callable[[Any], object] | None
    def __init__(
        self,
        source: Store | Callable[[], Store],
        length: int | None = ...,
        *,
        close: Callable[[Any], object] | None = ...,
    ) -> None: ...

@disjoint_base
class Parts(Store):
    def __init__(self, parts: Iterable[Part | Store | Callable[[], Store]], *, look_ahead: int = ...) -> None: ...
    @property
    def opened(self) -> list[int]: ...
    def available_ranges(self) -> list[tuple[int, int]]: ...
