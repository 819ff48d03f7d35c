"""``kithara cache``: what is kept, pinning, removing, verifying."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

import kithara

from ..assets import AssetId, AssetInfo
from ..errors import StoreError, redact_url
from .access import json_option
from .completion import ASSET
from .console import results_console, say_json, size

PREFIX = 4
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
@click.option("--cache", "folder", type=FOLDER, help="Folder of the cache.")
@click.pass_context
def cache(ctx: click.Context, folder: Path | None) -> None:
    """Look after what is kept for offline use.

    ASSET is a URL, or an id as `kithara cache ls` shows it, of which the first letters will do.
    """
    ctx.obj = folder


def _with_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--cache``, here as well as before the command, and ``--json``; *command* gets the ``store`` there."""

    @click.option("--cache", "folder", type=FOLDER, help="Folder of the cache.")
    @json_option
    @functools.wraps(command)
    def wrapped(*arguments: Any, folder: Path | None, **others: Any) -> Any:
        with kithara.AssetStore(folder or click.get_current_context().obj) as store:
            return command(store, *arguments, **others)

    return wrapped


@cache.command("path")
@_with_store
def show_path(store: kithara.AssetStore, as_json: bool) -> None:
    """Print the folder of the cache."""
    if as_json:
        say_json({"root": store.root})
    else:
        click.echo(store.root)


@cache.command("ls")
@_with_store
def list_assets(store: kithara.AssetStore, as_json: bool) -> None:
    """List what is kept, the least recently used first."""
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


def _acting(name: str, text: str, act: Callable[[kithara.AssetStore, str], None], fact: str, value: bool) -> None:
    """Add the command *name*, which does *act* to each asset it is given; of each *fact* is *value* then."""

    @cache.command(name, help=text)
    @click.argument("assets", type=ASSET, nargs=-1, required=True, metavar="ASSET...")
    @_with_store
    def command(store: kithara.AssetStore, assets: tuple[str, ...], as_json: bool) -> None:
        known = store.assets()
        for asset in [found for what in assets for found in _find(known, what)]:
            act(store, asset.id)
            if as_json:
                say_json({"id": asset.id, "label": asset.label, fact: value})


_acting("rm", "Remove each ASSET, also when it is pinned.", kithara.AssetStore.remove, "removed", True)
_acting("pin", "Keep each ASSET until it is unpinned, however full the cache.", kithara.AssetStore.pin, "pinned", True)
_acting("unpin", "Let each ASSET go again when room is needed.", kithara.AssetStore.unpin, "pinned", False)


def _find(known: list[AssetInfo], what: str) -> list[AssetInfo]:
    """The assets that *what* names: all of a URL, or the one whose id begins so."""
    if "://" in what:
        # A label may be lost with the index; what the URL alone makes the id of is still to be found.
        found = [asset for asset in known if asset.label == redact_url(what) or asset.id == AssetId.from_url(what)]
    else:
        found = [asset for asset in known if asset.id == what]
        if not found and len(what) >= PREFIX:
            found = [asset for asset in known if asset.id.startswith(what)]
            if len(found) > 1:
                raise StoreError(f"{what} is the beginning of {len(found)} ids; say more of it")
    if not found:
        raise StoreError(f"{redact_url(what)} is not in the cache; `kithara cache ls` shows what is")
    return found


@cache.command("verify")
@_with_store
def verify(store: kithara.AssetStore, as_json: bool) -> None:
    """Look through everything and remove what is torn. Reads no sound."""
    removed = store.verify()
    if as_json:
        records: list[dict[str, Any]] = [asdict(each) for each in removed]
        say_json({"removed": records})
        return
    for each in removed:
        click.echo(f"removed {each.path}: {each.reason}")
    click.echo(f"{len(removed)} removed" if removed else "all is well")
