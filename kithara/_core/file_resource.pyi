from collections.abc import Iterable
from typing import Literal

from typing_extensions import disjoint_base

from .resource import Resource

@disjoint_base
class FileResource(Resource):
    fd: int
    def __init__(
        self,
        fd: int,
        *,
        length: int | None = ...,
        ranges: Iterable[tuple[int, int]] = ...,
        cold: bool = ...,
        committed: bool = ...,
        io: Literal["auto", "pread"] = ...,
    ) -> None: ...
