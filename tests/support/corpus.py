"""Real files by real encoders, each made when it is first asked for and kept in ``build/corpus``.

::

    @pytest.mark.parametrize("name", corpus.LOSSLESS)
    def test_...(name):
        entry = corpus.file(name)                     # 12 s
        entry = corpus.file("mp3-cbr", seconds=300)
        expected = corpus.pcm(entry)                  # what the encoder was given

A missing encoder skips the test that asks, and fails it in CI.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import wave
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from support.signals import quantized, signal
from support.tools import require

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "corpus"
FIXTURES = ROOT / "tests" / "data" / "he-aac"
SECONDS = 12
# An odd number of frames that no codec's frame size divides: 529 977 at 44.1 kHz for 12 s.
EXTRA = 777

Make = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of the corpus.

    Attributes:
        frames: True frames that were encoded, or None when the source is not ours.
        told: Whether the container tells the exact length and lead, so that a decoder can give exactly *frames*.
        lossless: Whether the decoded samples must equal `pcm`.
        bits: The sample size that was encoded; 32 means float32.
    """

    name: str
    path: Path
    codec: str
    container: str
    rate: int
    frames: int | None
    told: bool
    lossless: bool
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    suffix: str
    codec: str
    container: str
    make: Make
    rate: int = 44100
    bits: int = 16
    told: bool = True
    lossless: bool = False
    version: int = 1


def run(*command: str | Path) -> None:
    """Run an encoder; its last words are in the error when it fails."""
    require(str(command[0]))
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-2000:]}")


def ffmpeg(*options: str) -> Make:
    def make(source: Path, target: Path) -> None:
        run("ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, *options, "-bitexact", target)

    return make


def lame(*options: str) -> Make:
    def make(source: Path, target: Path) -> None:
        run("lame", "--quiet", *options, source, target)

    return make


def flac(*options: str) -> Make:
    def make(source: Path, target: Path) -> None:
        run("flac", "--silent", "--force", *options, "-o", target, source)

    return make


def opusenc(source: Path, target: Path) -> None:
    run("opusenc", "--quiet", "--bitrate", "96", "--serial", "1", source, target)


def oggenc(source: Path, target: Path) -> None:
    run("oggenc", "--quiet", "-q", "5", "-s", "1", "-o", target, source)


def copied(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def with_cover(source: Path, target: Path) -> None:
    """An mp3 as `mp3-cbr`, tagged, with 700 KB of cover art before the first frame."""
    from mutagen.id3 import APIC, ID3, TALB, TIT2, TPE1
    from mutagen.mp3 import MP3

    lame("-b", "128", "--cbr")(source, target)
    tagged = MP3(target, ID3=ID3)
    tagged.add_tags()
    for frame in (
        TIT2(encoding=3, text="Prélude"),
        TPE1(encoding=3, text="Orpheus"),
        TALB(encoding=3, text="Seven Strings"),
        APIC(encoding=3, mime="image/png", type=3, desc="Cover", data=cover(483)),
    ):
        tagged.tags.add(frame)
    tagged.save()


def cover(side: int) -> bytes:
    """A valid PNG of noise, about 3 × *side*² bytes."""
    pixels = np.random.default_rng(7).integers(0, 256, (side, side * 3 + 1), dtype=np.uint8)
    pixels[:, 0] = 0  # each line's filter type

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels.tobytes(), 1))
        + chunk(b"IEND", b"")
    )


AC3 = ("-c:a", "ac3", "-b:a", "192k")
EAC3 = ("-c:a", "eac3", "-b:a", "96k")
AAC = ("-c:a", "aac", "-b:a", "128k")
OPUS = ("-c:a", "libopus", "-b:a", "96k")
FRAGMENTS = ("-frag_duration", "2000000")
RECIPES: dict[str, Recipe] = {
    "mp3-cbr": Recipe(suffix=".mp3", codec="mp3", container="mp3", make=lame("-b", "128", "--cbr")),
    "mp3-vbr": Recipe(suffix=".mp3", codec="mp3", container="mp3", make=lame("-V", "2")),
    "mp3-no-tag": Recipe(
        suffix=".mp3", codec="mp3", container="mp3", make=lame("-t", "-b", "128", "--cbr"), told=False
    ),
    "mp3-mpeg2": Recipe(suffix=".mp3", codec="mp3", container="mp3", make=lame("-b", "64", "--cbr"), rate=22050),
    "mp3-cover": Recipe(suffix=".mp3", codec="mp3", container="mp3", make=with_cover),
    "adts": Recipe(suffix=".aac", codec="aac", container="adts", make=ffmpeg(*AAC), told=False),
    "adts-no-pns": Recipe(suffix=".aac", codec="aac", container="adts", make=ffmpeg(*AAC, "-aac_pns", "0"), told=False),
    "ac3": Recipe(suffix=".ac3", codec="ac3", container="ac3", make=ffmpeg(*AC3), told=False),
    "eac3": Recipe(suffix=".eac3", codec="eac3", container="ac3", make=ffmpeg(*EAC3), told=False),
    "m4a-faststart": Recipe(suffix=".m4a", codec="aac", container="mp4", make=ffmpeg(*AAC, "-movflags", "+faststart")),
    "m4a-moov-last": Recipe(suffix=".m4a", codec="aac", container="mp4", make=ffmpeg(*AAC)),
    "m4a-no-pns": Recipe(
        suffix=".m4a", codec="aac", container="mp4", make=ffmpeg(*AAC, "-aac_pns", "0", "-movflags", "+faststart")
    ),
    "alac": Recipe(
        suffix=".m4a",
        codec="alac",
        container="mp4",
        make=ffmpeg("-c:a", "alac", "-movflags", "+faststart"),
        lossless=True,
    ),
    "fmp4": Recipe(
        suffix=".mp4",
        codec="aac",
        container="fmp4",
        make=ffmpeg(*AAC, "-aac_pns", "0", *FRAGMENTS, "-movflags", "+delay_moov+default_base_moof"),
    ),
    "fmp4-sidx": Recipe(
        suffix=".mp4",
        codec="aac",
        container="fmp4",
        make=ffmpeg(*AAC, "-aac_pns", "0", *FRAGMENTS, "-movflags", "+dash+delay_moov+global_sidx"),
    ),
    "fmp4-no-elst": Recipe(
        suffix=".mp4",
        codec="aac",
        container="fmp4",
        make=ffmpeg(
            *AAC, "-aac_pns", "0", *FRAGMENTS, "-use_editlist", "0", "-movflags", "+empty_moov+default_base_moof"
        ),
        told=False,
    ),
    "mkv-aac": Recipe(suffix=".mka", codec="aac", container="matroska", make=ffmpeg(*AAC), told=False),
    "mkv-pcm": Recipe(
        suffix=".mka", codec="pcm", container="matroska", make=ffmpeg("-c:a", "pcm_s16le"), told=False, lossless=True
    ),
    "ts-aac": Recipe(suffix=".ts", codec="aac", container="mpegts", make=ffmpeg(*AAC), told=False),
    "ts-ac3": Recipe(suffix=".ts", codec="ac3", container="mpegts", make=ffmpeg(*AC3), told=False),
    "flac": Recipe(suffix=".flac", codec="flac", container="flac", make=flac("-5"), lossless=True),
    "flac-24": Recipe(suffix=".flac", codec="flac", container="flac", make=flac("-5"), bits=24, lossless=True),
    "ogg-flac": Recipe(
        suffix=".oga", codec="flac", container="ogg", make=flac("--ogg", "--serial-number=1"), lossless=True
    ),
    "ogg-vorbis": Recipe(suffix=".ogg", codec="vorbis", container="ogg", make=oggenc),
    "ogg-opus": Recipe(suffix=".opus", codec="opus", container="ogg", make=opusenc, rate=48000),
    "webm-opus": Recipe(suffix=".webm", codec="opus", container="webm", make=ffmpeg(*OPUS), rate=48000),
    "mp4-opus": Recipe(suffix=".mp4", codec="opus", container="mp4", make=ffmpeg(*OPUS), rate=48000),
    "webm-vorbis": Recipe(
        suffix=".webm", codec="vorbis", container="webm", make=ffmpeg("-c:a", "libvorbis", "-q:a", "5"), told=False
    ),
    "wav-16": Recipe(suffix=".wav", codec="pcm", container="wav", make=copied, lossless=True),
    "wav-24": Recipe(suffix=".wav", codec="pcm", container="wav", make=copied, bits=24, lossless=True),
    "aiff": Recipe(suffix=".aiff", codec="pcm", container="aiff", make=ffmpeg("-c:a", "pcm_s16be"), lossless=True),
    "aiff-24": Recipe(
        suffix=".aif", codec="pcm", container="aiff", make=ffmpeg("-c:a", "pcm_s24be"), bits=24, lossless=True
    ),
    "wav-float": Recipe(suffix=".wav", codec="pcm", container="wav", make=copied, bits=32, lossless=True),
}


def _fixture(name: str, codec: str, container: str, *, told: bool) -> Entry:
    return Entry(
        name=f"fdk-{Path(name).stem}{'-adts' if container == 'adts' else ''}",
        path=FIXTURES / name,
        codec=codec,
        container=container,
        rate=44100,
        frames=529_977,
        told=told,
        lossless=False,
        bits=16,
    )


FDK: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        _fixture("aac_edts.m4a", "aac", "mp4", told=True),
        _fixture("aac_itunsmpb.m4a", "aac", "mp4", told=True),
        _fixture("heaac_edts.m4a", "he-aac", "mp4", told=True),
        _fixture("heaac_smpb.m4a", "he-aac", "mp4", told=True),
        _fixture("heaacv2_smpb.m4a", "he-aac-v2", "mp4", told=True),
        _fixture("heaac.aac", "he-aac", "adts", told=False),
    )
}

MADE = sorted(RECIPES)
LOSSLESS = sorted(name for name, recipe in RECIPES.items() if recipe.lossless)
TOLD = sorted(name for name, recipe in RECIPES.items() if recipe.told)
NAMES = sorted([*RECIPES, *FDK])


def file(name: str, seconds: int = SECONDS) -> Entry:
    """The entry called *name*, *seconds* long plus a few frames; made when it is not there yet."""
    if name in FDK:
        if seconds != SECONDS:
            raise ValueError(f"{name} is {SECONDS} s long, not {seconds}")
        return FDK[name]
    recipe = RECIPES[name]
    frames = recipe.rate * seconds + EXTRA
    path = CACHE / f"{name}-{seconds}s-v{recipe.version}{recipe.suffix}"
    if not path.exists():
        source = _source(recipe.rate, frames, recipe.bits)
        _make(path, partial(recipe.make, source))
    return Entry(
        name=name,
        path=path,
        codec=recipe.codec,
        container=recipe.container,
        rate=recipe.rate,
        frames=frames,
        told=recipe.told,
        lossless=recipe.lossless,
        bits=recipe.bits,
    )


def pcm(entry: Entry) -> npt.NDArray[np.int32] | npt.NDArray[np.float32]:
    """What the encoder of *entry* was given, (frames, 2): right-aligned integers, or float32 where *bits* is 32."""
    if entry.frames is None or entry.name in FDK:
        raise ValueError(f"the source of {entry.name} is not known")
    samples = signal(entry.frames, entry.rate)
    return samples.astype(np.float32) if entry.bits == 32 else quantized(samples, entry.bits)


def _source(rate: int, frames: int, bits: int) -> Path:
    path = CACHE / f"source-{rate}-{frames}-{bits}.wav"
    if not path.exists():
        _make(path, partial(_write_wav, rate, frames, bits))
    return path


def _write_wav(rate: int, frames: int, bits: int, path: Path) -> None:
    samples = signal(frames, rate)
    if bits == 32:
        data = samples.astype("<f4").tobytes()
        form = struct.pack("<HHIIHHH", 3, 2, rate, rate * 8, 8, 32, 0)  # format 3: IEEE float
        fact = struct.pack("<4sII", b"fact", 4, frames)
        body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form + fact
        body += struct.pack("<4sI", b"data", len(data)) + data
        path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
        return
    data = quantized(samples, bits).astype("<i4").tobytes()
    width = bits // 8
    packed = np.frombuffer(data, np.uint8).reshape(-1, 4)[:, :width].tobytes()
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(packed)


def _make(path: Path, make: Callable[[Path], None]) -> None:
    """Write *path* by *make*, whole or not at all, also when several test processes want it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        target = Path(folder) / path.name
        make(target)
        os.replace(target, path)


def digest(path: Path) -> str:
    """The SHA-256 of a file, to compare bytes briefly."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
