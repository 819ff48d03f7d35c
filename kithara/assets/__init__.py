"""The cache: what assets and resources are called, where they are kept, and who may be dropped."""

from .backend import Removed as Removed
from .evict import Limits as Limits
from .keys import AssetId as AssetId
from .keys import ResourceKey as ResourceKey
from .store import AssetInfo as AssetInfo
from .store import AssetStore as AssetStore
from .store import Usage as Usage
from .store import asset_store as asset_store
