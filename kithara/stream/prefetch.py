"""Prefetching under the name the streams know it by; it lives in `kithara.prefetch`."""

from ..prefetch import PrefetchConsumer as PrefetchConsumer
from ..prefetch import PrefetchedItem as PrefetchedItem
from ..prefetch import PrefetchSource as PrefetchSource
from ..prefetch import PrefetchWorker as PrefetchWorker
