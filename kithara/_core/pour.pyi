from collections.abc import Generator, Iterator
from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

@disjoint_base
class Pour:
    stream: Iterator[Any]
    raw: int
    wanted: int
    end: int
    left: int
    format: int
    lanes: int
    channels: int
    rate: int
    planar: bool
    end_tick: int | None
    bad_in_row: int
    def adapt(self, frame: Any) -> tuple[Buffer, ...]: ...
    def planes(self, frame: Any) -> tuple[Buffer, ...]: ...
    def mark_end(self) -> None: ...
    def plain(
        self, packets: Any, demuxer: Any, new_packet: Any, decode: Any, damage: tuple[type[Exception], ...]
    ) -> Generator[Any, None, tuple[Any, int, Exception | None] | None]: ...
    def drop(self) -> None: ...
    def skip(self, count: int) -> None: ...
    def pour(self, out: Buffer | NDArray[Any], at: int, count: int, dtype: int) -> int: ...
