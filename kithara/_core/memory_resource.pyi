from typing_extensions import disjoint_base

from .resource import Resource

@disjoint_base
class MemoryResource(Resource):
    limit: int
    held: int
    def __init__(self, length: int | None = ..., *, limit: int | None = ...) -> None: ...
