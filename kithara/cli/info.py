"""``kithara info``: what a URL or a file holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
import numpy as np
from rich.markup import escape
from rich.table import Table

import kithara

from ..decode.load import measure
from ..errors import KitharaError, redact_url
from .access import Access, access_options, json_option
from .completion import MEDIA
from .console import clock, error_record, results_console, say_error, say_json, size, total

COLUMNS = 64
PEAK_BLOCK = 2048
HEIGHTS = "▁▂▃▄▅▆▇█"


@click.command()
@click.argument("urls", type=MEDIA, nargs=-1, required=True, metavar="URL...")
@click.option("--waveform", is_flag=True, help="Draw it, too, which takes decoding it all.")
@access_options
@json_option
def info(urls: tuple[str, ...], waveform: bool, access: Access, as_json: bool) -> int:
    """Tell codec, container, length, gapless facts and tags of each URL (or file), reading as little as it takes."""
    failed = False
    for url in urls:
        try:
            record = describe(url, access, waveform=waveform)
        except KitharaError as error:
            failed = True
            if as_json:
                say_json({"url": redact_url(url), "error": error_record(error)})
            else:
                say_error(error)
            continue
        if as_json:
            say_json(record)
        else:
            console = results_console()
            console.print(escape(record["url"]), soft_wrap=True, style="bold")
            console.print(_table(record))
    return 1 if failed else 0


def describe(url: str, access: Access, *, waveform: bool = False) -> dict[str, Any]:
    """What is known of *url*, as JSON types; what only a file or only a playlist has is None in the other."""
    with access.open_media(url) as media, kithara.Decoder(media) as decoder:
        if not access.offline:  # where the end of a file may be missing
            measure(decoder)
        record = {
            "url": redact_url(url),
            "media": None if decoder.media is None else asdict(decoder.media),
            "rate": decoder.spec.rate,
            "channels": decoder.spec.channels,
            "frames": decoder.frames,
            "duration": decoder.duration,
            "gapless": None if decoder.gapless is None else asdict(decoder.gapless),
            "tags": dict(decoder.tags),
            "pictures": [{"type": picture.mime, "size": len(picture.data)} for picture in decoder.pictures],
            "size": None,
            "cached": None,
            "status": None,
            "variants": None,
        }
        if isinstance(media, kithara.SyncReader):
            record |= {"size": media.length, "cached": total(media.available_ranges()), "status": media.status}
        else:
            record["duration"] = media.duration
            record["variants"] = [{**asdict(each), "uri": redact_url(each.uri)} for each in media.variants]
        if waveform:
            record["waveform"] = peaks(decoder)
        return record


def peaks(decoder: kithara.Decoder) -> list[float]:
    """The loudest sample of each of up to `COLUMNS` equal parts of the sound, 1.0 being full scale."""
    loudest = [float(np.abs(block).max()) for block in decoder.blocks(PEAK_BLOCK)]
    parts = np.array_split(np.array(loudest), min(COLUMNS, len(loudest))) if loudest else []
    return [round(float(part.max()), 4) for part in parts]


def _table(record: dict[str, Any]) -> Table:
    media = record["media"] or {}
    codec = " ".join(str(media[name]) for name in ("codec", "profile") if media.get(name))
    bitrate = "" if not media.get("bitrate") else f", {media['bitrate'] / 1000:.0f} kbit/s"
    frames = "" if record["frames"] is None else f" ({record['frames']} frames)"
    estimate = media.get("duration_estimate")
    length = clock(record["duration"]) if record["duration"] or not estimate else f"about {clock(estimate)}"
    rows = {
        "media": f"{codec or 'unknown'} in {media.get('container') or 'unknown'}{bitrate}",
        "sound": f"{record['rate']} Hz, {record['channels']} channels",
        "length": f"{length}{frames}",
        "gapless": "not told"
        if record["gapless"] is None
        else ", ".join(f"{name} {value}" for name, value in record["gapless"].items() if value is not None),
        **{name: str(value) for name, value in record["tags"].items()},
    }
    if record["variants"] is None:
        kept = f", {size(record['cached'])} in the cache ({record['status']})" if "://" in record["url"] else ""
        rows["size"] = size(record["size"]) + kept
    else:
        rows["variants"] = ", ".join(f"{each['bandwidth'] / 1000:.0f} kbit/s" for each in record["variants"])
    if "waveform" in record:
        rows["waveform"] = "".join(
            HEIGHTS[min(len(HEIGHTS) - 1, int(peak * len(HEIGHTS)))] for peak in record["waveform"]
        )
    if record["pictures"]:
        rows["pictures"] = ", ".join(f"{picture['type']}, {size(picture['size'])}" for picture in record["pictures"])
    table = Table(show_header=False, box=None)
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    return table
