"""``kithara cache``: what is kept, pinning, removing, verifying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

import kithara

from ..assets import AssetInfo
from ..errors import redact_url
from .access import json_option
from .completion import ASSET
from .console import results_console, say_json, size

PREFIX = 4


@click.group()
@click.option("--cache", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder of the cache.")
@click.pass_context
def cache(ctx: click.Context, folder: Path | None) -> None:
    """Look after what is kept for offline use.

    ASSET is a URL, or an id as `kithara cache ls` shows it, of which the first letters will do.
    """
    ctx.obj = folder


def _store(ctx: click.Context) -> kithara.AssetStore:
    store = kithara.AssetStore(ctx.obj)
    ctx.call_on_close(store.close)
    return store


@cache.command("path")
@click.pass_context
def show_path(ctx: click.Context) -> None:
    """Print the folder of the cache."""
    click.echo(_store(ctx).root)


@cache.command("ls")
@json_option
@click.pass_context
def list_assets(ctx: click.Context, as_json: bool) -> None:
    """List what is kept, the least recently used first."""
    store = _store(ctx)
    assets, usage = store.assets(), store.usage()
    if as_json:
        say_json({"root": store.root, "usage": asdict(usage), "assets": [asdict(asset) for asset in assets]})
        return
    table = Table(box=None, header_style="dim")
    for name, justify in (("id", "left"), ("size", "right"), ("", "left"), ("url", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for asset in assets:
        marks = " ".join(word for word, true in (("pinned", asset.pinned), ("open", asset.leased)) if true)
        table.add_row(asset.id[:12], size(asset.size), marks, escape(asset.label or ""))
    console = results_console()
    if assets:
        console.print(table)
    console.print(f"{usage.assets} assets, {size(usage.bytes)} of {size(usage.max_bytes)}, in {escape(store.root)}")


def _acting(name: str, text: str, act: Callable[[kithara.AssetStore, str], None]) -> None:
    """Add the command *name*, which does *act* to each asset it is given."""

    @cache.command(name, help=text)
    @click.argument("assets", type=ASSET, nargs=-1, required=True, metavar="ASSET...")
    @click.pass_context
    def command(ctx: click.Context, assets: tuple[str, ...]) -> None:
        store = _store(ctx)
        known = store.assets()
        for asset in [found for what in assets for found in _find(known, what)]:
            act(store, asset.id)


_acting("rm", "Remove each ASSET, also when it is pinned.", lambda store, asset: store.remove(asset))
_acting("pin", "Keep each ASSET until it is unpinned, however full the cache.", lambda store, asset: store.pin(asset))
_acting("unpin", "Let each ASSET go again when room is needed.", lambda store, asset: store.unpin(asset))


def _find(known: list[AssetInfo], what: str) -> list[AssetInfo]:
    """The assets that *what* names: all of a URL, or the one whose id begins so."""
    if "://" in what:
        found = [asset for asset in known if asset.label == redact_url(what)]
    else:
        found = [asset for asset in known if asset.id == what]
        if not found and len(what) >= PREFIX:
            found = [asset for asset in known if asset.id.startswith(what)]
            if len(found) > 1:
                raise click.ClickException(f"{what} is the beginning of {len(found)} ids; say more of it")
    if not found:
        raise click.ClickException(f"{redact_url(what)} is not in the cache; `kithara cache ls` shows what is")
    return found


@cache.command("verify")
@json_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> None:
    """Look through everything and remove what is torn. Reads no sound."""
    removed = _store(ctx).verify()
    if as_json:
        records: list[dict[str, Any]] = [asdict(each) for each in removed]
        say_json({"removed": records})
        return
    for each in removed:
        click.echo(f"removed {each.path}: {each.reason}")
    click.echo(f"{len(removed)} removed" if removed else "all is well")
