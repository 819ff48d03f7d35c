"""HLS presentations by a real packager, each made when it is first asked for and kept in ``build/hls``.

::

    tree = hlstrees.tree("ts")              # a folder with master.m3u8, one list and its segments per variant
    tree.master, tree.variants[0].plain     # path of the master; the bytes that variant 0 is without encryption
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support import corpus
from support.waiting import eventually

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
    folder: Path,
    codec: list[str],
    options: list[str],
    name: str = "seg%03d.ts",
    *,
    seconds: int = SECONDS,
    source: Path | None = None,
) -> None:
    folder.mkdir(parents=True)
    source = source or corpus._source(44100, 44100 * seconds + corpus.EXTRA, 16)
    corpus.run(
        "ffmpeg", "-v", "error", "-y", "-i", source, "-map", "0:a", *codec,
        "-f", "hls", "-hls_time", str(SEGMENT), "-hls_playlist_type", "vod", "-hls_list_size", "0",
        *options, *(["-hls_segment_filename", str(folder / name)] if name else []), str(folder / "list.m3u8"),
    )  # fmt: skip


AAC = {64: 70_000, 128: 138_000, 256: 270_000}
FMP4 = ["-hls_segment_type", "fmp4"]
_BARE_MP3 = ["-segment_format_options", "write_xing=0:id3v2_version=0"]


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


def _tones(folder: Path) -> None:
    """Low tones, so that a click stands out, in variants that differ in codec, rate and container; nothing says so."""
    source = folder / "tones.wav"
    left, right = ("+".join(f"{level}*sin(2*PI*{hertz}*t)" for level, hertz in pair)
                   for pair in (((0.35, 220), (0.2, 547)), ((0.35, 330), (0.2, 811))))  # fmt: skip
    tones = f"aevalsrc={left}|{right}:s=44100:c=stereo:d={SECONDS}"
    corpus.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", tones, source)
    _pack(folder / "v0", ["-c:a", "libmp3lame", "-b:a", "64k"], [], source=source)
    fast = [*_aac(128), "-aac_pns", "0", "-ar", "48000"]
    for number, codec in enumerate([[*_aac(64), "-aac_pns", "0"], fast, ["-c:a", "flac", "-strict", "-2"]], 1):
        _pack(folder / f"v{number}", codec, FMP4, "seg%03d.m4s", source=source)
    source.unlink()


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


def _rekeyed(folder: Path) -> None:
    """Another key for every segment: the packager reads the key file anew whenever it begins one."""
    for number, rate in enumerate([64, 128]):
        _feed(folder / "plain" / f"v{number}", _aac(rate), [])
        out = folder / f"v{number}"
        info = folder / "key.info"

        def install(turn: int, number: int = number, info: Path = info) -> None:
            name = f"{number}-{turn}.key"
            (folder / name).write_bytes(bytes((17 * number + turn + at) % 256 for at in range(16)))
            fresh = info.with_suffix(".new")
            fresh.write_text(f"../{name}\n{folder / name}\n")
            os.replace(fresh, info)

        options = ["-hls_flags", "periodic_rekey", "-hls_key_info_file", str(info)]
        _feed(out, _aac(rate), options, before_segment=install)
        for spare in set(folder.glob(f"{number}-*.key")) - {folder / name for name in _keys_named(out)}:
            spare.unlink()
        info.unlink()


def _keys_named(variant: Path) -> list[str]:
    return re.findall(r'URI="\.\./([^"]+)"', (variant / "list.m3u8").read_text())


def _feed(
    folder: Path, codec: list[str], options: list[str], *, before_segment: Callable[[int], None] = lambda turn: None
) -> None:
    """As `_pack`, with the source given to the packager bit by bit: *before_segment* is called once for each."""
    folder.mkdir(parents=True)
    with wave.open(str(corpus._source(44100, 44100 * SECONDS + corpus.EXTRA, 16))) as source:
        pcm = source.readframes(source.getnframes())
    before_segment(0)
    command = [
        "ffmpeg", "-v", "error", "-y", "-probesize", "32", "-analyzeduration", "0",
        "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", *codec,
        "-f", "hls", "-hls_time", str(SEGMENT), "-hls_playlist_type", "vod", "-hls_list_size", "0",
        *options, "-hls_segment_filename", str(folder / "seg%03d.ts"), str(folder / "list.m3u8"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as packager:
        assert packager.stdin is not None
        second, done, turn = 44100 * 4, 0, 0
        while done < len(pcm):
            stop = (turn * SEGMENT + SEGMENT // 2) * second
            packager.stdin.write(pcm[done:stop])
            packager.stdin.flush()
            done = stop
            if turn and done < len(pcm):
                finished = folder / f"seg{turn - 1:03d}.ts"
                eventually(finished.exists, 60.0)
            turn += 1
            before_segment(turn)
        packager.stdin.close()
    assert not packager.returncode


def _untimed(
    folder: Path, codec: str, suffix: str, options: list[str], rates: tuple[int, int], seconds: tuple[float, float]
) -> None:
    """Packed audio as it comes from ffmpeg: nothing but counting, and the list, tells the time."""
    for number, rate in enumerate(rates):
        out = folder / f"v{number}"
        out.mkdir(parents=True)
        source = corpus._source(44100, 44100 * SECONDS + corpus.EXTRA, 16)
        corpus.run(
            "ffmpeg", "-v", "error", "-y", "-i", source, "-map", "0:a", "-c:a", codec, "-b:a", f"{rate}k",
            "-f", "segment", "-segment_time", str(seconds[number]), *options,
            "-segment_list", out / "list.m3u8", "-segment_list_type", "m3u8", out / f"seg%03d.{suffix}",
        )  # fmt: skip
        with (out / "list.m3u8").open("a") as told:
            told.write("#EXT-X-ENDLIST\n")


def _packed(folder: Path, codec: str, suffix: str, options: list[str], rates: tuple[int, int]) -> None:
    """Packed audio; the tags in front tell the time on a clock that starts over within the presentation."""
    _untimed(folder, codec, suffix, options, rates, (SEGMENT, SEGMENT))
    for number, _ in enumerate(rates):
        out = folder / f"v{number}"
        durations = re.findall(r"#EXTINF:([\d.]+)", (out / "list.m3u8").read_text())
        seconds = 0.0
        for path, duration in zip(sorted(out.glob(f"*.{suffix}")), durations, strict=True):
            stamp = ((1 << 33) - 10 * 90_000 + round(seconds * 90_000)) % (1 << 33)
            path.write_bytes(timestamp_tag(stamp) + path.read_bytes())
            seconds += float(duration)


def timestamp_tag(stamp: int) -> bytes:
    """The ID3 tag that packed audio begins with (RFC 8216, 3.4)."""
    body = b"com.apple.streaming.transportStreamTimestamp\0" + stamp.to_bytes(8, "big")
    frame = b"PRIV" + bytes([0, 0, 0, len(body), 0, 0]) + body
    return b"ID3\x04\0\0\0\0\0" + bytes([len(frame)]) + frame


RECIPES: dict[str, Callable[[Path], None]] = {
    "ts": _ts,
    "fmp4": _fmp4,
    "fmp4-single-file": _single,
    "fmp4-aac-flac": _flac,
    "fmp4-lossless": _lossless,
    "fmp4-no-pns": lambda folder: _without_noise(folder, FMP4, "seg%03d.m4s"),
    "packed-aac": lambda folder: _packed(folder, "aac", "aac", ["-aac_pns", "0"], (64, 128)),
    "packed-aac-untimed": lambda folder: _untimed(folder, "aac", "aac", ["-aac_pns", "0"], (64, 128), (4, 2.7)),
    "packed-mp3-untimed": lambda folder: _untimed(folder, "libmp3lame", "mp3", _BARE_MP3, (64, 128), (4, 2.7)),
    "packed-ac3": lambda folder: _packed(folder, "ac3", "ac3", [], (128, 256)),
    "packed-mp3": lambda folder: _packed(folder, "libmp3lame", "mp3", _BARE_MP3, (64, 128)),
    "tones": _tones,
    "ts-minute": _long,
    "ts-rekeyed": _rekeyed,
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
        media = sorted(path for path in own.iterdir() if path.suffix in (".ts", ".m4s", ".aac", ".ac3", ".mp3"))
        inits = sorted(own.glob("init*.mp4"))
        files = [*inits, *media]
        data = b"".join((clear / path.name).read_bytes() for path in files)
        variants.append(Made(playlist, files, data))
    return Tree(folder, folder / "master.m3u8", variants, [_bandwidth(n) for n in range(len(variants))])
