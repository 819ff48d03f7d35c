from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer

_Writable = Buffer | NDArray[Any]

FORMATS: dict[str, tuple[int, bool]]
DTYPES: dict[str, int]

def interleave(
    planes: tuple[Buffer, ...],
    format: int,
    planar: bool,
    channels: int,
    start: int,
    frames: int,
    out: _Writable,
    at: int,
    dtype: int,
) -> None: ...
def silence(out: _Writable, start: int, stop: int) -> None: ...
