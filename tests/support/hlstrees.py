"""HLS presentations by a real packager, each made when it is first asked for and kept in ``build/hls``.

::

    tree = hlstrees.tree("ts")              # a folder with master.m3u8, one list and its segments per variant
    tree.master, tree.variants[0].plain     # path of the master; the bytes that variant 0 is without encryption
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support import corpus

CACHE = corpus.ROOT / "build" / "hls"
SECONDS = 24
SEGMENT = 4
KEY = bytes(range(16))
IV = bytes(range(100, 116))


@dataclass(frozen=True, slots=True)
class Made:
    """One variant: its list, its files in order, and the bytes of init section and segments without encryption."""

    playlist: Path
    files: list[Path]
    plain: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    """A presentation in *folder*."""

    folder: Path
    master: Path
    variants: list[Made]
    bandwidths: list[int]


def _pack(
    folder: Path, codec: list[str], options: list[str], name: str = "seg%03d.ts", *, seconds: int = SECONDS
) -> None:
    folder.mkdir(parents=True)
    source = corpus._source(44100, 44100 * seconds + corpus.EXTRA, 16)
    corpus.run(
        "ffmpeg", "-v", "error", "-y", "-i", source, "-map", "0:a", *codec,
        "-f", "hls", "-hls_time", str(SEGMENT), "-hls_playlist_type", "vod", "-hls_list_size", "0",
        *options, *(["-hls_segment_filename", str(folder / name)] if name else []), str(folder / "list.m3u8"),
    )  # fmt: skip


AAC = {64: 70_000, 128: 138_000, 256: 270_000}
FMP4 = ["-hls_segment_type", "fmp4"]


def _aac(rate: int) -> list[str]:
    return ["-c:a", "aac", "-b:a", f"{rate}k", "-ac", "2"]


def _ladder(folder: Path, options: list[str], name: str) -> None:
    for number, rate in enumerate(AAC):
        _pack(folder / f"v{number}", _aac(rate), options, name)


def _ts(folder: Path) -> None:
    _ladder(folder, [], "seg%03d.ts")


def _fmp4(folder: Path) -> None:
    _ladder(folder, FMP4, "seg%03d.m4s")


def _without_noise(folder: Path, options: list[str], name: str) -> None:
    """No perceptual noise substitution: its noise depends on where a decoder began."""
    for number, rate in enumerate(AAC):
        _pack(folder / f"v{number}", [*_aac(rate), "-aac_pns", "0"], options, name)


def _single(folder: Path) -> None:
    _ladder(folder, [*FMP4, "-hls_flags", "single_file"], "")


def _flac(folder: Path) -> None:
    for number, rate in enumerate([128]):
        _pack(folder / f"v{number}", _aac(rate), FMP4, "seg%03d.m4s")
    _pack(folder / "v1", ["-c:a", "flac", "-strict", "-2"], FMP4, "seg%03d.m4s")


def _lossless(folder: Path) -> None:
    """Two lossless variants that are cut differently, the second with far larger segments on the wire."""
    for number, (seconds, level) in enumerate([(4, 12), (3, 0)]):
        codec = ["-c:a", "flac", "-strict", "-2", "-compression_level", str(level)]
        _pack(folder / f"v{number}", codec, [*FMP4, "-hls_time", str(seconds)], "seg%03d.m4s")


def _long(folder: Path) -> None:
    for number, rate in enumerate(AAC):
        _pack(folder / f"v{number}", _aac(rate), ["-hls_time", "2"], "seg%03d.ts", seconds=60)


def _mixed(folder: Path) -> None:
    """Variants that differ in rate, codec and container."""
    _pack(folder / "v0", [*_aac(64), "-ar", "44100"], [], "seg%03d.ts")
    _pack(folder / "v1", [*_aac(128), "-ar", "48000"], FMP4, "seg%03d.m4s")
    _pack(folder / "v2", ["-c:a", "flac", "-strict", "-2"], FMP4, "seg%03d.m4s")


def _encrypted(folder: Path, iv: bool) -> None:
    _ladder(folder, [], "seg%03d.ts")
    plain = folder / "plain"
    plain.mkdir()
    for number in range(len(AAC)):
        (folder / f"v{number}").rename(plain / f"v{number}")
    (folder / "secret.key").write_bytes(KEY)
    info = folder / "key.info"
    lines = ["../secret.key", str(folder / "secret.key"), *([IV.hex()] if iv else [])]
    info.write_text("\n".join(lines) + "\n")
    _ladder(folder, ["-hls_key_info_file", str(info)], "seg%03d.ts")
    info.unlink()


RECIPES: dict[str, Callable[[Path], None]] = {
    "ts": _ts,
    "fmp4": _fmp4,
    "fmp4-single-file": _single,
    "fmp4-aac-flac": _flac,
    "fmp4-lossless": _lossless,
    "fmp4-no-pns": lambda folder: _without_noise(folder, FMP4, "seg%03d.m4s"),
    "ts-minute": _long,
    "ts-no-pns": lambda folder: _without_noise(folder, [], "seg%03d.ts"),
    "mixed": _mixed,
    "ts-aes": lambda folder: _encrypted(folder, False),
    "ts-aes-iv": lambda folder: _encrypted(folder, True),
}


def tree(name: str) -> Tree:
    """The presentation called *name*; made when it is not there yet."""
    folder = CACHE / f"{name}-{SECONDS}s-v1"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".making-") as making:
            target = Path(making) / "tree"
            target.mkdir()
            RECIPES[name](target)
            _write_master(target)
            try:
                os.replace(target, folder)
            except OSError:
                shutil.rmtree(target)  # another process made it meanwhile
    return _read(folder)


def _bandwidth(number: int) -> int:
    return [*AAC.values(), 1_000_000][number]


def _write_master(folder: Path) -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:7"]
    for number, _ in enumerate(sorted(folder.glob("v[0-9]"))):
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={_bandwidth(number)}", f"v{number}/list.m3u8"]
    (folder / "master.m3u8").write_text("\n".join([*lines, ""]))


def _read(folder: Path) -> Tree:
    variants = []
    for number, playlist in enumerate(sorted(folder.glob("v[0-9]/list.m3u8"))):
        plain = folder / "plain" / f"v{number}"
        own = playlist.parent
        clear = plain if plain.exists() else own
        media = sorted(path for path in own.iterdir() if path.suffix in (".ts", ".m4s"))
        inits = sorted(own.glob("init*.mp4"))
        files = [*inits, *media]
        data = b"".join((clear / path.name).read_bytes() for path in files)
        variants.append(Made(playlist, files, data))
    return Tree(folder, folder / "master.m3u8", variants, [_bandwidth(n) for n in range(len(variants))])
