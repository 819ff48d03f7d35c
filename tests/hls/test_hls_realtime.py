"""In real time over a link that changes: no gap, and back up when it recovers."""

import threading
import time

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import FaultServer
from support.waiting import Background, eventually

import kithara
from kithara.hls import HlsOptions, HlsSource, VariantApplied
from kithara.portal import portal

BLOCK = 4410
FAST, SLOW = 200_000.0, 20_000.0  # bytes a second; the variants take 9 000, 17 000 and 34 000
BRIDGED = 15.0
"""Seconds of playing over the slow link: more than what is fetched ahead."""


class Player:
    """A sound card: it takes a block every tenth of a second, come what may, and counts what was not there."""

    def __init__(self, stream):
        self.stream = stream
        self.missing = 0
        self._blocks = 0
        self._begun = time.monotonic()
        self._out = np.zeros((BLOCK, 2), np.float32)

    @property
    def seconds(self):
        return self._blocks / 10

    def play(self, until):
        """Play until *until* says so; False at the end of the presentation."""
        while not until():
            if self.stream.ended:
                return False
            self.missing += self.stream.readinto(self._out, on_underrun="silence") < BLOCK and not self.stream.ended
            self._blocks += 1
            threading.Event().wait(max(0.0, self._begun + self._blocks / 10 - time.monotonic()))
        return True


@pytest.mark.slow
@pytest.mark.needs("ffmpeg")
@pytest.mark.timeout(180)
def test_a_link_that_falls_to_a_tenth_is_bridged_and_its_recovery_heard():
    tree = hlstrees.tree("ts-minute")
    with FaultServer() as server:
        citizens = [
            server.serve(f"/{path.relative_to(tree.folder)}", path.read_bytes(), delay=0.05, rate=FAST)
            for path in tree.folder.rglob("*")
            if path.is_file()
        ]

        async def open_it():
            return await HlsSource.open(server.url("/master.m3u8"), HlsOptions(look_ahead=10.0))

        session = portal().run(open_it())
        events = session.events()
        applied = []
        listener = Background(lambda: applied.extend(e.variant for e in events if isinstance(e, VariantApplied)))
        # Two seconds of PCM, so that a box with more to do than this test does not make the gap.
        with kithara.AudioStream(session.segment_source(), buffer=2.0) as stream:
            eventually(lambda: stream.buffered > 1.9, 20.0)
            player = Player(stream)
            assert player.play(lambda: applied[-1:] == [2])
            climbed = len(applied)
            for citizen in citizens:
                citizen.rate = SLOW
            fallen = player.seconds
            assert player.play(lambda: player.seconds > fallen + BRIDGED and applied[-1] < 2)
            for citizen in citizens:
                citizen.rate = FAST
            assert player.play(lambda: applied[-1] == 2)
            recovered = player.seconds
            player.play(lambda: player.seconds > recovered + 3)
            assert 0 == player.missing
            assert 0 == stream.stats().underruns
        session.close()
        listener.result()
        assert min(applied[climbed:]) < 2
