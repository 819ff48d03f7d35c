"""The web's own player agrees: hls.js in Chromium plays what `kithara fetch --export` wrote, as long and as varied."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import browser, hlstrees
from support.nginx import Nginx

import kithara

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.needs("nginx", "ffmpeg"),
]

PAGE = '<!doctype html><meta charset="utf-8"><title>hls.js</title><script src="hls.min.js"></script><audio></audio>'

# Loads each level, plays the first seconds and the last, and tells what it saw.
PLAY = """
export default async function (page, url, master) {
    await page.goto(url);
    return page.evaluate(async (master) => {
        const sound = document.querySelector('audio');
        const hls = new Hls({ enableWorker: false });
        const seen = { levels: [], durations: [], errors: [] };
        const within = (promise, what) => Promise.race([promise, new Promise((_, fail) =>
            setTimeout(() => fail(new Error(what + ': ' + JSON.stringify(seen))), 30000))]);
        const told = (event) => within(new Promise((done) => hls.once(event, (_, data) => done(data))), event);
        const reach = (time) => within(new Promise((done) => {
            const look = () => sound.currentTime > time ? done(sound.currentTime) : requestAnimationFrame(look);
            look();
        }), 'playing to ' + time);
        hls.on(Hls.Events.ERROR, (_, data) => seen.errors.push([data.fatal, data.details, String(data.error)]));
        const parsed = told(Hls.Events.MANIFEST_PARSED);
        hls.loadSource(master);
        hls.attachMedia(sound);
        await parsed;
        seen.levels = hls.levels.map((level) => level.bitrate);
        for (let level = 0; level < hls.levels.length; level++) {
            const loaded = hls.levels[level].details ? null : told(Hls.Events.LEVEL_LOADED);
            hls.currentLevel = level;
            if (loaded) await loaded;
            seen.durations.push(hls.levels[level].details.totalduration);
            sound.currentTime = 0;
            await sound.play();
            await reach(1);
        }
        seen.duration = sound.duration;
        sound.currentTime = sound.duration - 6; // the very end of FLAC, less than a packet, it cannot parse
        seen.position = await reach(sound.duration - 4);
        return seen;
    }, master);
}
"""


def packed_aac(folder: Path) -> Path:
    """The presentation "ts" in ADTS segments, which FFmpeg's own HLS muxer does not make."""
    for number, made in enumerate(hlstrees.tree("ts").variants):
        (folder / f"v{number}").mkdir(parents=True)
        words = ["-i", made.playlist, "-c", "copy", "-f", "segment", "-segment_format", "adts", "-segment_time", "4"]
        target = folder / f"v{number}" / "seg%03d.aac"
        listed = ["-segment_list", folder / f"v{number}" / "list.m3u8"]
        subprocess.run(["ffmpeg", "-v", "error", *words, *listed, target], check=True, timeout=60)
    shutil.copy(hlstrees.tree("ts").master, folder / "master.m3u8")
    return folder


async def ours(url: str) -> tuple[list[int], list[float]]:
    """Bandwidths and seconds of the variants as Kithara has them."""
    durations = []
    async with kithara.HlsSource.open(url) as session:
        for variant in session.variants:
            async with kithara.HlsSource.open(variant.uri) as alone:
                assert alone.duration is not None
                durations.append(alone.duration)
        return [variant.bandwidth for variant in session.variants], durations


@pytest.mark.parametrize("name", ["ts", "fmp4", "fmp4-single-file", "packed-aac", "ts-aes-iv", "mixed"])
def test_hls_js_plays_an_exported_presentation_and_has_our_duration_and_levels(name, tmp_path):
    shutil.copy(browser.package("hls.js") / "dist" / "hls.min.js", tmp_path)
    (tmp_path / "page.html").write_text(PAGE)
    tree = packed_aac(tmp_path / "made") if name == "packed-aac" else hlstrees.tree(name).folder
    with Nginx(tree) as origin:
        command = ["fetch", "--cache", tmp_path / "cache", "--export", tmp_path, origin.url("master.m3u8")]
        subprocess.run(
            [sys.executable, "-m", "kithara", *command],
            env={**os.environ, "PYTHONPATH": str(Path(kithara.__file__).parents[1])},
            check=True,
            timeout=60,
        )
        levels, durations = asyncio.run(ours(origin.url("master.m3u8")))
    with Nginx(tmp_path) as copy:
        seen = browser.run(PLAY, copy.url("page.html"), copy.url("master/master.m3u8"))
        asked = {request.path for request in copy.requests() if "/segments/" in request.path}
    assert [] == [error for error in seen["errors"] if error[0]]
    assert levels == seen["levels"]
    assert durations == pytest.approx(seen["durations"], abs=1e-3)
    assert durations[-1] == pytest.approx(seen["duration"], abs=0.1)  # the media may end a frame off the playlist's sum
    assert seen["position"] > durations[-1] - 4.1
    assert len(levels) == len({path.split("/")[-2] for path in asked})  # it has played them all
