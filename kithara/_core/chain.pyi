from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from typing_extensions import disjoint_base

from .store import Store, Watch

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
class Chain(Store):
    def __init__(self, parts: Iterable[Part | Store | Callable[[], Store]], *, look_ahead: int = ...) -> None: ...
    @property
    def opened(self) -> list[int]: ...
    def available_ranges(self) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

@disjoint_base
class ChainWatch(Watch): ...
