from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer

Writable = Buffer | NDArray[Any]

FORMATS: dict[str, tuple[int, bool]]
DTYPES: dict[str, int]

def interleave(
    planes: tuple[Buffer, ...],
    format: int,
    planar: bool,
    channels: int,
    start: int,
    frames: int,
    out: Writable,
    at: int,
    dtype: int,
) -> None: ...
def silence(out: Writable, start: int, stop: int) -> None: ...
