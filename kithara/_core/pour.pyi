from collections.abc import Iterator
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
    def adapt(self, frame: Any) -> tuple[Buffer, ...]: ...
    def drop(self) -> None: ...
    def skip(self, count: int) -> None: ...
    def pour(self, out: Buffer | NDArray[Any], at: int, count: int, dtype: int) -> int: ...
