"""The options by which every command reaches what it is given: cache, headers, offline, time limit."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click

import kithara


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a command reaches a URL.

    Attributes:
        cache: The folder of the cache; None for the platform's.
        keep: Whether what is fetched is kept.
        offline: Whether to stay away from the network.
        timeout: Seconds that opening may take, or None for the library's own limits.
        headers: Request headers.
    """

    cache: Path | None = None
    keep: bool = True
    offline: bool = False
    timeout: float | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def store(self) -> kithara.AssetStore | Literal[False] | None:
        """What `kithara.open` takes as its store."""
        if not self.keep:
            return False
        return None if self.cache is None else kithara.AssetStore(self.cache)

    def open(self, what: str, *, refresh: bool = False) -> kithara.SyncReader:
        """A reader of *what*, ``-`` being the standard input. The caller closes it."""
        return kithara.open(
            what,
            store=self.store(),
            headers=self.headers or None,
            timeout=self.timeout,
            offline=self.offline,
            revalidate="always" if refresh else "never",
        )


def _headers(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for value in values:
        name, colon, text = value.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{value!r} is not of the form 'Name: value'", ctx, parameter)
        headers[name.strip()] = text.strip()
    return headers


def access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Access` to *command*, which gets them as its ``access``."""

    @click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Folder of the cache.")
    @click.option("--no-cache", is_flag=True, help="Keep nothing.")
    @click.option("--offline", is_flag=True, help="Use the cache only; never the network.")
    @click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds that opening may take.")
    @click.option("-H", "--header", "headers", multiple=True, callback=_headers, help="A request header; repeatable.")
    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        cache: Path | None,
        no_cache: bool,
        offline: bool,
        timeout: float | None,
        headers: dict[str, str],
        **others: Any,
    ) -> Any:
        if no_cache and (cache is not None or offline):
            raise click.UsageError("--no-cache goes neither with --cache nor with --offline")
        access = Access(cache=cache, keep=not no_cache, offline=offline, timeout=timeout, headers=headers)
        return command(*arguments, access=access, **others)

    return wrapped


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Results as JSON on stdout, no progress.")(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-q", "--quiet", is_flag=True, help="No progress, also on a terminal.")(command)


def stdout_is_terminal() -> bool:
    return sys.stdout.isatty()
