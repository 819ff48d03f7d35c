"""The options by which every command reaches what it is given: cache, headers, offline, time limit."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

import kithara

from ..errors import KitharaError, UnsupportedMedia, redact_url
from ..opening import forget, open_media
from .console import error_record, say_json

if TYPE_CHECKING:
    from ..hls import HlsSegments

    Media = kithara.SyncReader | HlsSegments


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

    @contextlib.contextmanager
    def open(
        self, what: str, *, refresh: bool = False, bus: kithara.EventBus | None = None
    ) -> Iterator[kithara.SyncReader]:
        """A reader of the bytes of *what* while the block lasts; of a playlist, those of one variant."""
        with (
            self._store() as store,
            kithara.open(
                what,
                store=store,
                options=kithara.FileOptions(bus=bus),
                headers=self.headers or None,
                timeout=self.timeout,
                offline=self.offline,
                revalidate="always" if refresh else "never",
            ) as reader,
        ):
            yield reader

    @contextlib.contextmanager
    def open_media(self, what: str) -> Iterator[Media]:
        """What a decoder of *what* eats, while the block lasts; what turns out to be no audio is not kept."""
        headers = self.headers or None
        with self._store() as store:
            media = open_media(what, store=store, headers=headers, timeout=self.timeout, offline=self.offline)
            try:
                with contextlib.closing(media):
                    yield media
            except UnsupportedMedia as error:
                error.url = redact_url(what)
                forget(what, store=store, headers=headers)
                raise

    @contextlib.contextmanager
    def _store(self) -> Iterator[kithara.AssetStore | Literal[False] | None]:
        if self.cache is None:
            yield None if self.keep else False
        else:
            with kithara.AssetStore(self.cache) as store:
                yield store


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
    """Add ``--json`` to *command*, which gets it as ``as_json``; its errors are told so, too."""

    @click.option("--json", "as_json", is_flag=True, help="Results, and errors, as JSON on stdout; no progress.")
    @functools.wraps(command)
    def wrapped(*arguments: Any, as_json: bool, **others: Any) -> Any:
        try:
            return command(*arguments, as_json=as_json, **others)
        except KitharaError as error:
            if not as_json:
                raise
            say_json({"error": error_record(error)})
            return 1

    return wrapped


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option to *command* that shows no progress."""
    return click.option("-q", "--quiet", is_flag=True, help="No progress, also on a terminal.")(command)
