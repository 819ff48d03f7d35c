"""The command line as its users meet it: real processes, a real origin, exit codes, silence in a pipe."""

from __future__ import annotations

import io
import json
import os
import pty
import resource
import signal as signals
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from support import hlstrees
from support.waiting import eventually, liveness

import kithara
from kithara.cli import lyre, main
from kithara.cli.origin import Body, Origin

MUSIC = lyre.melody(4)
SONG = lyre.flac(MUSIC)
PACKAGE = Path(kithara.__file__).parent.parent
Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(
        {"song.flac": SONG, "late.m4a": lyre.m4a(MUSIC), "page.mp3": b"<!DOCTYPE html><title>Sign in</title>"}
    ) as on:
        yield on


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONPATH": str(PACKAGE),
        "PYTHONWARNINGS": "error::ResourceWarning",
        "COLUMNS": "120",
    }


@pytest.fixture
def command(tmp_path: Path, environment: dict[str, str]) -> Callable[..., list[str]]:
    """The words of a command line, run with a cache of the test's own."""

    def words(name: str, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "kithara", name, "--cache", str(tmp_path / "cache"), *map(str, arguments)]

    return words


@pytest.fixture
def spawn(tmp_path: Path, environment: dict[str, str], command: Callable[..., list[str]]) -> Run:
    """Run a command in a process of its own."""

    def spawn(name: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command(name, *arguments), cwd=tmp_path, env=environment, capture_output=True, timeout=50, check=False
        )

    return spawn


@pytest.fixture
def run(
    tmp_path: Path,
    command: Callable[..., list[str]],
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run a command here, which is quicker."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        words = command(name, *arguments)
        code = main(words[3:])
        return subprocess.CompletedProcess(words, code, *capfdbinary.readouterr())

    return run


def said(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# decode


def test_decode_writes_every_sample_and_says_nothing_in_a_pipe(spawn: Run, origin: Origin, tmp_path: Path) -> None:
    assert (0, "", "") == said(spawn("decode", origin.url("song.flac"), "-o", "out.wav"))
    assert np.array_equal(MUSIC, soundfile.read(tmp_path / "out.wav", dtype="int16")[0])


def test_decode_writes_flac_of_24_bits(run: Run, origin: Origin, tmp_path: Path) -> None:
    assert 0 == run("decode", origin.url("song.flac"), "-o", "out.flac", "--samples", "int24").returncode
    data = soundfile.read(tmp_path / "out.flac", dtype="int32")[0]
    assert np.array_equal(MUSIC.astype(np.int32) << 16, data)


def test_decode_to_stdout_is_a_wav_that_ends_with_the_sound(spawn: Run, origin: Origin) -> None:
    code, sound, errors = (
        (done := spawn("decode", origin.url("song.flac"), "-o", "-")).returncode,
        done.stdout,
        done.stderr,
    )
    assert (0, b"") == (code, errors)
    assert sound.startswith(b"RIFF")
    assert sound.endswith(MUSIC.tobytes())


def test_decode_takes_a_part_exact_to_the_sample(run: Run, origin: Origin, tmp_path: Path) -> None:
    done = run("decode", origin.url("song.flac"), "-o", "out.wav", "--start", "1.5", "--duration", "0.25", "--json")
    assert 0 == done.returncode
    assert (11025, 44100, 2) == tuple(json.loads(done.stdout)[name] for name in ("frames", "rate", "channels"))
    assert np.array_equal(MUSIC[66150:77175], soundfile.read(tmp_path / "out.wav", dtype="int16")[0])


def test_decode_resamples(run: Run, origin: Origin, tmp_path: Path) -> None:
    assert 0 == run("decode", origin.url("song.flac"), "-o", "out.wav", "--rate", "22050").returncode
    with soundfile.SoundFile(tmp_path / "out.wav") as file:
        assert (22050, len(MUSIC) // 2) == (file.samplerate, file.frames)


def test_decode_reads_a_local_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "song.flac").write_bytes(SONG)
    assert (0, "", "") == said(run("decode", tmp_path / "song.flac", "-o", "out.wav"))
    assert np.array_equal(MUSIC, soundfile.read(tmp_path / "out.wav", dtype="int16")[0])


def test_a_folder_that_is_not_there_is_one_line(run: Run, origin: Origin) -> None:
    code, _, errors = said(run("decode", origin.url("song.flac"), "-o", "nowhere/out.wav"))
    assert (1, True) == (code, errors.startswith("error: cannot write nowhere/out.wav: No such file"))


def test_decode_overwrites_only_when_told_to(run: Run, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "out.wav").write_bytes(b"mine")
    code, _, errors = said(run("decode", origin.url("song.flac"), "-o", "out.wav"))
    assert (2, b"mine") == (code, (tmp_path / "out.wav").read_bytes())
    assert "--force" in errors
    assert 0 == run("decode", origin.url("song.flac"), "-o", "out.wav", "--force").returncode
    assert (tmp_path / "out.wav").read_bytes().startswith(b"RIFF")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-o", "out.mp3"),
        ("-o", "out.flac", "--samples", "float32"),
        ("-o", "-", "--json"),
        (),
        ("-o", "out.wav", "--header", "no colon"),
        ("-o", "out.wav", "--no-cache"),
    ],
)
def test_wrong_usage_exits_with_2_and_asks_nobody(run: Run, origin: Origin, arguments: tuple[str, ...]) -> None:
    code, out, errors = said(run("decode", origin.url("song.flac"), *arguments))
    assert (2, "", []) == (code, out, origin.requests)
    assert "Error: " in errors


def test_decode_interrupted_exits_with_130_and_leaves_no_output(
    command: Callable[..., list[str]], environment: dict[str, str], origin: Origin, tmp_path: Path
) -> None:
    origin.rate = 20_000
    (tmp_path / "out").mkdir()
    words = command("decode", origin.url("song.flac"), "-o", "out/song.wav")
    # With nothing compiled, the signal comes while modules are still being imported.
    environment |= {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
        eventually(lambda: list((tmp_path / "out").iterdir()), timeout=20)
        asked = time.monotonic()
        process.send_signal(signals.SIGINT)
        assert 130 == process.wait(20)
        assert time.monotonic() - asked < liveness(1.5)
        assert process.stderr is not None
        assert b"" == process.stderr.read().strip()
    assert [] == list((tmp_path / "out").iterdir())


def test_decode_into_a_pipe_that_closes_ends_quietly(
    command: Callable[..., list[str]], environment: dict[str, str], origin: Origin
) -> None:
    words = command("decode", origin.url("song.flac"), "-o", "-")
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"RIFF" == process.stdout.read(4)
        process.stdout.close()
        assert (1, b"") == (process.wait(20), process.stderr.read())


# fetch


def test_what_was_fetched_plays_offline_without_one_request(spawn: Run, origin: Origin, tmp_path: Path) -> None:
    assert (0, "", "") == said(spawn("fetch", origin.url("song.flac")))
    assert len(SONG) == origin.sent
    mark = origin.mark()
    assert 0 == spawn("decode", "--offline", origin.url("song.flac"), "-o", "out.wav").returncode
    assert [] == mark.requests
    assert np.array_equal(MUSIC, soundfile.read(tmp_path / "out.wav", dtype="int16")[0])


def test_fetch_goes_on_where_it_was_killed(
    run: Run, command: Callable[..., list[str]], environment: dict[str, str], origin: Origin
) -> None:
    origin.rate = 200_000
    with subprocess.Popen(command("fetch", origin.url("song.flac")), env=environment) as process:
        eventually(lambda: origin.sent > 200_000, timeout=20)
        origin.rate = 2_000  # so that it cannot be done before the signal is there
        process.send_signal(signals.SIGINT)
        assert 130 == process.wait(20)
    origin.rate = None
    done = run("fetch", origin.url("song.flac"), "--json")
    record = json.loads(done.stdout)
    assert (0, len(SONG)) == (done.returncode, record["length"])
    assert record["cached"] > 100_000
    assert origin.sent <= len(SONG) + 128 * 1024


def test_a_fetch_tells_what_was_here_before_it(run: Run, origin: Origin) -> None:
    records = [json.loads(run("fetch", origin.url("song.flac"), "--json").stdout) for _ in range(2)]
    assert [0, len(SONG)] == [record["cached"] for record in records]


def test_one_url_that_fails_does_not_stop_the_others(run: Run, origin: Origin) -> None:
    urls = [origin.url("nope.mp3"), origin.url("late.m4a")]
    done = run("fetch", *urls, "--json")
    failed, fetched = (json.loads(line) for line in done.stdout.splitlines())
    assert (1, "HttpStatus", urls[1]) == (done.returncode, failed["error"]["type"], fetched["url"])
    assert "try: Check the address" in run("fetch", urls[0]).stderr.decode()


def test_fetch_exports_the_very_bytes(run: Run, origin: Origin, tmp_path: Path) -> None:
    assert 0 == run("fetch", origin.url("song.flac"), "--export", "music").returncode
    assert [("song.flac", SONG)] == [(path.name, path.read_bytes()) for path in (tmp_path / "music").iterdir()]


def test_two_urls_of_one_name_are_not_exported_over_each_other(run: Run, origin: Origin) -> None:
    code, _, errors = said(run("fetch", origin.url("a/song.flac"), origin.url("song.flac"), "--export", "music"))
    assert (2, []) == (code, origin.requests)
    assert "music/song.flac" in errors


@pytest.mark.parametrize("path", ["%2e%2e", "a/..", "a%2F..%2F..", "%00"])
def test_an_export_never_leaves_its_folder(run: Run, origin: Origin, tmp_path: Path, path: str) -> None:
    origin.serve(unquote(path), b"0123456789")
    run("fetch", origin.url(path), "--export", "music")
    assert {"music", "cache"} >= {entry.name for entry in tmp_path.iterdir()} - {"home"}


@pytest.mark.parametrize("arguments", [("decode", "-o", "out/song.wav"), ("fetch", "--export", "out")])
def test_a_full_disk_is_one_line_and_leaves_nothing_half(
    command: Callable[..., list[str]], environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "song.flac").write_bytes(SONG)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        command(*arguments, tmp_path / "song.flac"),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=50,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert (1, b"") == (done.returncode, done.stdout)
    assert done.stderr.startswith(b"error: cannot write out/song.")
    assert [] == list((tmp_path / "out").iterdir())


def test_fetch_refresh_gets_what_changed_and_only_then(run: Run, origin: Origin, tmp_path: Path) -> None:
    run("fetch", origin.url("song.flac"))
    mark = origin.mark()
    assert 0 == run("fetch", "--refresh", origin.url("song.flac")).returncode
    assert (1, 0) == (len(mark.requests), mark.sent)
    other = lyre.flac(MUSIC[::-1].copy())
    origin.serve("song.flac", other)
    assert 0 == run("fetch", "--refresh", origin.url("song.flac"), "--export", "music").returncode
    assert other == (tmp_path / "music" / "song.flac").read_bytes()


@pytest.mark.parametrize("path", ["nope.mp3", "page.mp3"])
def test_what_is_no_audio_leaves_nothing_in_the_cache(run: Run, origin: Origin, path: str) -> None:
    assert 1 == run("info", origin.url(path)).returncode
    assert [] == json.loads(run("cache", "ls", "--json").stdout)["assets"]


# info


def test_info_knows_what_a_url_holds(spawn: Run, origin: Origin) -> None:
    done = spawn("info", "--json", origin.url("song.flac"))
    record = json.loads(done.stdout)
    assert (0, b"") == (done.returncode, done.stderr)
    assert {"codec": "flac", "container": "flac"}.items() <= record["media"].items()
    assert (44100, 2, len(MUSIC), len(SONG)) == tuple(record[name] for name in ("rate", "channels", "frames", "size"))


def test_info_tells_the_length_of_what_tells_it_at_its_end_only(run: Run, origin: Origin) -> None:
    ogg = io.BytesIO()
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (441_000, 2))
    soundfile.write(ogg, noise, 44100, format="OGG", subtype="VORBIS")
    origin.serve("noise.ogg", ogg.getvalue())
    record = json.loads(run("info", "--json", origin.url("noise.ogg")).stdout)
    assert (441_000, 10.0) == (record["frames"], record["duration"])
    assert record["cached"] < len(ogg.getvalue())


def test_info_for_people_names_codec_length_and_size(run: Run, origin: Origin) -> None:
    code, out, errors = said(run("info", origin.url("late.m4a")))
    assert (0, "") == (code, errors)
    assert [] == [word for word in ("aac in mp4", "44100 Hz, 2 channels", "0:04.0", "KiB") if word not in out]


def test_info_goes_on_behind_what_it_cannot_open(run: Run, origin: Origin) -> None:
    urls = [origin.url(name) for name in ("song.flac", "none.flac", "late.m4a")]
    code, out, errors = said(run("info", *urls))
    assert (1, True, True) == (code, "flac in flac" in out, "aac in mp4" in out)
    assert "404" in errors
    done = run("info", "--json", *urls)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert (1, urls) == (done.returncode, [record["url"] for record in records])
    assert ["HttpStatus"] == [record["error"]["type"] for record in records if "error" in record]


def test_info_draws_how_loud_it_is(run: Run, origin: Origin) -> None:
    fading = (np.linspace(0, 32767, 44100)[:, None] * np.ones((1, 2))).astype(np.int16)
    origin.serve("fading.flac", lyre.flac(fading))
    drawn = json.loads(run("info", "--json", "--waveform", origin.url("fading.flac")).stdout)["waveform"]
    assert sorted(drawn) == drawn
    assert (22, 1.0) == (len(drawn), round(drawn[-1], 3))
    assert "▁▁▂▂▂▃▃▃▄▄▅▅▅▆▆▆▇▇████" in run("info", "--waveform", origin.url("fading.flac")).stdout.decode()


def test_credentials_in_a_url_are_never_shown(run: Run, origin: Origin) -> None:
    url = origin.url("song.flac?token=hush").replace("http://", "http://me:hush@")
    for arguments in (("info", url), ("info", "--json", url), ("info", url.replace("song", "nope"))):
        code, out, errors = said(run(*arguments))
        assert "hush" not in out + errors
        assert code in (0, 1)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nope.mp3", ("404", "Check the address")),
        ("page.mp3", ("/page.mp3", "DOCTYPE", "try: ")),
        ("ftp://127.0.0.1/a.mp3", ("ftp", "http")),
        ("missing.flac", ("missing.flac", "No such file")),
        (".", ("directory",)),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_a_hint(
    run: Run, origin: Origin, what: str, words: tuple[str, ...]
) -> None:
    url = origin.url(what) if what.endswith(".mp3") and "/" not in what else what
    code, out, errors = said(run("info", url))
    assert (1, "") == (code, out)
    assert errors.startswith("error: ")
    assert [] == [word for word in words if word not in errors]
    assert "Traceback" not in errors


def test_an_error_is_json_where_results_are(run: Run, origin: Origin) -> None:
    code, out, errors = said(run("info", "--json", origin.url("nope.mp3")))
    assert (1, "", "HttpStatus") == (code, errors, json.loads(out)["error"]["type"])


def test_offline_asks_nobody_and_says_how_to_get_it(run: Run, origin: Origin) -> None:
    code, _, errors = said(run("info", "--offline", origin.url("song.flac")))
    assert (1, []) == (code, origin.requests)
    assert "kithara fetch" in errors


# cache


def test_the_cache_is_listed_pinned_and_emptied(run: Run, origin: Origin, tmp_path: Path) -> None:
    url = origin.url("song.flac")
    run("fetch", url)

    def assets() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(run("cache", "ls", "--json").stdout)["assets"]
        return listed

    [asset] = assets()
    assert (url, False) == (asset["label"], asset["pinned"])
    assert 0 == run("cache", "pin", url).returncode
    assert [True] == [asset["pinned"] for asset in assets()]
    assert 0 == run("cache", "unpin", asset["id"][:8]).returncode
    assert [False] == [asset["pinned"] for asset in assets()]
    assert "song.flac" in run("cache", "ls").stdout.decode()
    assert f"{tmp_path / 'cache'}\n" == run("cache", "path").stdout.decode()
    assert (0, "all is well\n", "") == said(run("cache", "verify"))
    assert 0 == run("cache", "rm", url).returncode
    assert [] == assets()


def test_every_command_of_the_cache_speaks_json(run: Run, origin: Origin, tmp_path: Path) -> None:
    url = origin.url("song.flac")
    run("fetch", url)

    def told(*arguments: str) -> tuple[int, Any]:
        done = run("cache", *arguments, "--json")
        return done.returncode, json.loads(done.stdout)

    assert (0, {"root": str(tmp_path / "cache")}) == told("path")
    [asset] = told("ls")[1]["assets"]
    known = {"id": asset["id"], "label": url}
    assert (0, known | {"pinned": True}) == told("pin", url)
    assert (0, known | {"pinned": False}) == told("unpin", url)
    assert (0, {"removed": []}) == told("verify")
    assert (0, known | {"removed": True}) == told("rm", url)
    code, record = told("rm", url)
    assert (1, "StoreError") == (code, record["error"]["type"])


def test_the_folder_of_the_cache_may_be_named_behind_the_command(run: Run, origin: Origin, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    run("fetch", origin.url("song.flac"))
    assert f"{elsewhere}\n" == run("cache", "path", "--cache", str(elsewhere)).stdout.decode()


def test_an_asset_is_found_by_its_url_though_the_index_was_lost(run: Run, origin: Origin, tmp_path: Path) -> None:
    url = origin.url("song.flac")
    run("fetch", url)
    for file in (tmp_path / "cache" / "_index").glob("index.db*"):
        file.unlink()
    assert 0 == run("cache", "pin", url).returncode
    [asset] = json.loads(run("cache", "ls", "--json").stdout)["assets"]
    assert asset["pinned"]


def test_an_asset_that_is_not_there_is_an_error(run: Run) -> None:
    code, _, errors = said(run("cache", "rm", "http://h/none.mp3"))
    assert 1 == code
    assert "cache ls" in errors


# play, and on a terminal


def test_play_null_takes_the_time_the_sound_takes(spawn: Run, origin: Origin) -> None:
    started = time.monotonic()
    assert (0, "", "") == said(spawn("play", "--null", "--start", "1", "--duration", "0.6", origin.url("song.flac")))
    assert time.monotonic() - started >= 0.6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fetch",), ("song.flac", "1 file", "0 failed")),
        (("decode", "-o", "out.wav"), ("decoding to out.wav", "44100 Hz")),
        (("play", "--null", "--duration", "0.3"), ("playing", "0:0", "of 0:04.0")),
    ],
)
def test_a_terminal_sees_progress(
    command: Callable[..., list[str]],
    environment: dict[str, str],
    origin: Origin,
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    terminal, side = pty.openpty()
    words_of_command = command(arguments[0], *arguments[1:], origin.url("song.flac"))
    with subprocess.Popen(
        words_of_command, cwd=tmp_path, env={**environment, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=side
    ) as process:
        os.close(side)
        seen = io.BytesIO()
        while chunk := _read(terminal):
            seen.write(chunk)
        assert process.stdout is not None
        assert (0, b"") == (process.wait(20), process.stdout.read())
    os.close(terminal)
    shown = seen.getvalue().decode()
    assert [] == [word for word in words if word not in shown]


RIGHT = b"\x1b[C"


@pytest.mark.parametrize("ending", [[b"q"], [RIGHT, RIGHT]])
def test_keys_pause_seek_and_end_the_player(
    command: Callable[..., list[str]], environment: dict[str, str], origin: Origin, ending: list[bytes]
) -> None:
    origin.serve("long.flac", lyre.flac(np.tile(MUSIC, (5, 1))))
    terminal, side = pty.openpty()
    words = command("play", "--null", origin.url("long.flac"))
    with subprocess.Popen(words, env={**environment, "TERM": "xterm"}, stdin=side, stdout=side, stderr=side) as process:
        os.close(side)
        for sight, key in ((b"ahead", b" "), (b"paused", b" "), (b"playing", b"")):
            _see(terminal, sight)
            os.write(terminal, key)
        pressed = time.monotonic()
        for key in ending:
            os.write(terminal, key)
            _see(terminal, b"playing")
        while _read(terminal):
            pass
        assert 0 == process.wait(20)
        assert time.monotonic() - pressed < liveness(5)
    os.close(terminal)


def _see(terminal: int, sight: bytes) -> None:
    seen = b""
    while sight not in seen:
        chunk = _read(terminal)
        assert chunk, f"{sight!r} not in {seen!r}"
        seen += chunk


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


# adaptive streams


@pytest.fixture
def playlist(origin: Origin) -> str:
    """The URL of a master playlist with three variants, 24 s."""
    tree = hlstrees.tree("ts")
    for path in tree.folder.rglob("*.*"):
        origin.serve(f"hls/{path.relative_to(tree.folder)}", path)
    return origin.url("hls/master.m3u8")


def test_info_names_the_variants_of_a_playlist(run: Run, playlist: str) -> None:
    record = json.loads(run("info", "--json", playlist).stdout)
    assert ([70_000, 138_000, 270_000], "aac") == (
        [variant["bandwidth"] for variant in record["variants"]],
        record["media"]["codec"],
    )
    assert record["duration"] == pytest.approx(24, abs=0.1)
    assert "70 kbit/s, 138 kbit/s, 270 kbit/s" in run("info", playlist).stdout.decode()


def test_a_playlist_that_was_fetched_decodes_offline(run: Run, playlist: str, origin: Origin, tmp_path: Path) -> None:
    assert (0, "", "") == said(run("fetch", playlist))
    mark = origin.mark()
    assert (0, "", "") == said(run("decode", "--offline", playlist, "-o", "out.wav"))
    assert [] == mark.requests
    assert soundfile.info(tmp_path / "out.wav").duration == pytest.approx(24, abs=0.1)


def test_playing_a_playlist_shows_its_variant(
    command: Callable[..., list[str]], environment: dict[str, str], playlist: str
) -> None:
    terminal, side = pty.openpty()
    words = command("play", "--null", "--duration", "0.5", playlist)
    with subprocess.Popen(words, env={**environment, "TERM": "xterm"}, stdin=side, stdout=side, stderr=side) as process:
        os.close(side)
        _see(terminal, b"kbit/s")
        while _read(terminal):
            pass
        assert 0 == process.wait(20)
    os.close(terminal)


# the rest


def test_the_demo_shows_that_it_works(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = [
        "demo",
        "--seconds",
        "5",
        "--rate",
        "2000000",
        "--delay",
        "0.005",
        "--play",
        "0",
        "--out",
        "shown",
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "kithara", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert (0, b"") == (done.returncode, done.stderr)
    record = json.loads(done.stdout)
    assert [] == record["failed"]
    assert (0, 0) == (record["steps"][-1]["requests"], record["steps"][-1]["fetched"])
    assert record["sent"] <= record["length"] + 64 * 1024
    assert np.array_equal(lyre.melody(5), soundfile.read(tmp_path / "shown" / "lyre.wav", dtype="int16")[0])


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [(("--help",), 0, "Commands:"), (("--version",), 0, "kithara"), (("fly",), 2, "No such command"), ((), 2, "Usage")],
)
def test_the_bare_command_helps(environment: dict[str, str], arguments: tuple[str, ...], code: int, word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kithara", *arguments], env=environment, capture_output=True, timeout=50, check=False
    )
    assert code == done.returncode
    assert word in (done.stdout + done.stderr).decode()


def test_a_header_reaches_the_server(run: Run, origin: Origin) -> None:
    origin.serve("tagged.flac", Body(data=SONG))
    assert 0 == run("info", "-H", "X-Name: orpheus", origin.url("tagged.flac")).returncode
    assert {"orpheus"} == {request.headers.get("x-name") for request in origin.requests}


def test_fetch_to_stdout_gives_the_very_bytes(spawn: Run, origin: Origin) -> None:
    done = spawn("fetch", "--export", "-", origin.url("song.flac"))
    assert (0, SONG, b"") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("more", [("--json",), ("http://127.0.0.1/other.mp3",)])
def test_stdout_takes_one_file(run: Run, origin: Origin, more: tuple[str, ...]) -> None:
    code, out, errors = said(run("fetch", "--export", "-", origin.url("song.flac"), *more))
    assert (2, "", []) == (code, out, origin.requests)
    assert "stdout takes one file" in errors


def test_fetch_of_many_shows_each_and_the_total(
    command: Callable[..., list[str]], environment: dict[str, str], origin: Origin
) -> None:
    for number in range(12):
        origin.serve(f"{number}.flac", SONG[: 1000 * number + 1000])
    terminal, side = pty.openpty()
    words = command("fetch", *(origin.url(f"{number}.flac") for number in range(12)))
    with subprocess.Popen(words, env={**environment, "TERM": "xterm"}, stdin=side, stdout=side, stderr=side) as process:
        os.close(side)
        seen = b""
        while chunk := _read(terminal):
            seen += chunk
        assert 0 == process.wait(20)
    os.close(terminal)
    assert [] == [sight for sight in (b"11.flac", b"12 of 12 files", b"12 files, 76.2 KiB, ") if sight not in seen]
