"""The cache: what assets and resources are called, where they are kept, and who may be dropped."""

from .keys import AssetId as AssetId
from .keys import ResourceKey as ResourceKey
