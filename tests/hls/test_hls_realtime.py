"""In real time over a link that changes: no gap, and back up when it recovers."""

import threading
import time

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import FaultServer
from support.waiting import eventually

import kithara
from kithara.hls import HlsOptions, HlsSource, VariantApplied
from kithara.portal import portal

BLOCK = 4410
FAST, SLOW = 200_000.0, 12_000.0  # bytes a second; the variants take 9 000, 17 000 and 34 000


@pytest.mark.slow
@pytest.mark.needs("ffmpeg")
@pytest.mark.timeout(180)
def test_a_link_that_falls_to_less_than_a_tenth_is_bridged_and_its_recovery_heard():
    tree = hlstrees.tree("ts-minute")
    with FaultServer() as server:
        citizens = [
            server.serve(f"/{path.relative_to(tree.folder)}", path.read_bytes(), delay=0.05, rate=FAST)
            for path in tree.folder.rglob("*")
            if path.is_file()
        ]

        async def open_it():
            return await HlsSource.open(server.url("/master.m3u8"), HlsOptions(look_ahead=12.0))

        session = portal().run(open_it())
        events = session.events()
        applied = []
        listener = threading.Thread(
            target=lambda: applied.extend(e.variant for e in events if isinstance(e, VariantApplied))
        )
        listener.start()
        out = np.zeros((BLOCK, 2), np.float32)
        with kithara.AudioStream(session.segment_source()) as stream:
            stream.read(BLOCK)
            eventually(lambda: stream.buffered > 0.3)  # it has begun
            begun, missing = time.monotonic(), 0
            for block in range(450):
                if block in (150, 300):
                    for citizen in citizens:
                        citizen.rate = SLOW if block == 150 else FAST
                missing += stream.readinto(out, on_underrun="silence") < BLOCK
                # the sound card's clock
                threading.Event().wait(max(0.0, begun + 0.1 * (block + 1) - time.monotonic()))
            assert 0 == missing
        session.close()
        listener.join()
        assert 2 == applied[-1]
        assert min(applied[applied.index(2) :]) < 2
