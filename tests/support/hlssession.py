"""A session on a tree that a server holds, opened as a thread without a loop does."""

from kithara.hls import HlsOptions, HlsSource
from kithara.portal import portal


def opened(server, store, **options):
    """The session on the presentation of *server*."""

    async def open_it():
        return await HlsSource.open(server.url("/master.m3u8"), HlsOptions(**options), store)

    return portal().run(open_it())
