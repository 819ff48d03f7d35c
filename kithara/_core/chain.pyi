from typing_extensions import disjoint_base

from .parts import Parts
from .store import Watch

@disjoint_base
class Chain(Parts):
    def close(self) -> None: ...

@disjoint_base
class ChainWatch(Watch): ...
