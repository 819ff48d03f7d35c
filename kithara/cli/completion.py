"""What a shell completes behind a command: files where media go, ids where assets go."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

import kithara

from ..errors import KitharaError, redact_url


class _Media(StringParamType):
    """A URL or the path of a file."""

    name = "url"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class _Asset(StringParamType):
    """A URL, or the id of what the cache holds under it."""

    name = "asset"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        above = {} if ctx.parent is None else ctx.parent.params
        folder = ctx.params.get("folder") or above.get("folder")
        try:
            with kithara.AssetStore(folder) as store:
                assets = store.assets()
        except KitharaError:
            return []  # a shell has no place for errors
        return [
            CompletionItem(asset.id[:12], help=redact_url(asset.label or ""))
            for asset in assets
            if asset.id.startswith(incomplete)
        ]


MEDIA = _Media()
ASSET = _Asset()
