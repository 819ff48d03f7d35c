"""Odd shapes of real presentations: what a packager writes at the end, and what comes in small pieces."""

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import FaultServer
from support.hlsorigin import IV, KEY, encrypted
from support.hlssession import opened

import kithara
from kithara.decode.view import ByteView

EMPTY = (24).to_bytes(4, "big") + b"styp" + b"msdh" + bytes(4) + b"msdhmsix"


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("keyed", [False, True], ids=["clear", "encrypted"])
def test_a_seek_into_a_last_segment_that_holds_nothing_lands_in_the_one_before(keyed):
    tree = hlstrees.tree("fmp4-lossless").variants[0]
    with kithara.Decoder(tree.playlist, dtype="int16") as decoder:
        expected = decoder.read()
    lines = tree.playlist.read_text().splitlines()
    place = lines.index("#EXT-X-ENDLIST")
    lines[place:place] = ["#EXTINF:0.5,", "empty.m4s"]
    if keyed:
        first = next(at for at, line in enumerate(lines) if line.startswith("#EXTINF"))
        lines.insert(first, f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{IV.hex()}')
    with FaultServer() as server:
        server.serve("/k", KEY)
        server.serve("/master.m3u8", "\n".join(lines).encode())
        for path in tree.files:
            body = path.read_bytes()
            server.serve(f"/{path.name}", encrypted(body) if keyed and path.suffix == ".m4s" else body)
        server.serve("/empty.m4s", encrypted(EMPTY) if keyed else EMPTY)
        session = opened(server, None)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            decoder.seek(len(expected) + 4410)  # a tenth of a second into what holds nothing
            assert 0 == len(decoder.read())
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            decoder.seek(len(expected) - 10)
            assert np.array_equal(expected[-10:], decoder.read())
        session.close()


class Trickle:
    """A reader that cannot seek and gives *sizes* bytes at a time, then whatever is asked for."""

    def __init__(self, data, *sizes):
        self.data, self.sizes, self.at = data, list(sizes), 0

    def read(self, size):
        size = min(size, self.sizes.pop(0)) if self.sizes else size
        self.at += size
        return self.data[self.at - size : self.at]


@pytest.mark.parametrize("first", [8, 16, 20, 24, 100])
def test_what_was_passed_by_while_a_header_is_understood_can_be_gone_back_to(first):
    data = bytes(range(200))
    view = ByteView(Trickle(data, first))
    assert data[:8] == view.head(0, 8, 512)[:8]
    assert data[24:40] == view.get(24, 16)
    assert data[:16] == view.get(0, 16)
