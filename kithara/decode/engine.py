"""Demuxer and codec on one timeline: any frame of the true audio, exactly, into an array.

Positions here are frames at the codec's output rate. The *raw* clock counts all that the codec emits; position p is raw
``lead + p``. A landing labels the first packet, after that frames are counted and no timestamp is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._core.pcm import DTYPES, interleave, silence
from ..errors import DecodeError
from .codec import Codec, Frame, open_codec
from .gapless import CODEC_PRIMING, SBR_DELAY, Gapless, GaplessMode
from .pcm import LAYOUTS, Array, PcmSpec
from .track import Demuxer, Mark, Track

__all__ = ["Engine"]

MAX_BAD = 64
"""Damaged packets in a row, none good between, that end the decoding."""
MAX_GAP = 600
"""Seconds of missing media that silence stands for; more is a broken clock."""
_GRID = {"aac", "mp3", "mp2", "opus", "ac3", "eac3"}
"""Codecs whose packets all give the same number of frames: a label is snapped to their grid."""


class Engine:
    """Frames of *demuxer* from any position on. Owned by one thread at a time.

    Attributes:
        spec: Rate and channels of what is decoded.
        gapless: What is trimmed, or None where nothing is told.
        position: The frame `fill` gives next.
        bad: Damaged packets met so far; silence stands for them.
    """

    def __init__(self, demuxer: Demuxer, gapless: GaplessMode) -> None:
        self.demuxer = demuxer
        self.codec: Codec = open_codec(demuxer.track)
        self.bad = 0
        self._bad_in_row = 0
        self._mode = gapless
        self._frame: Frame | None = None
        self._offset = self._left = 0
        self._packet = 0  # frames that a packet of the grid's codecs gives
        self._scale = (1, 1)  # output frames for ticks
        self._lead = 0
        self._raw = 0  # raw clock at the next frame out of the decoder
        self._wanted = 0  # raw clock at `position`
        self._live = False
        self._first: tuple[Frame | None, int] | None = None
        self._stream: Iterator[tuple[Frame | None, int]] = self._frames()
        self._meet()

    # ── opening ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _meet(self) -> None:
        """Decode the first frame: only then rate, channels and SBR are sure."""
        silent = 0
        for frame, samples in self._stream:
            if frame is not None:
                break
            silent += samples
        else:
            raise DecodeError(f"no audio could be decoded from this {self.demuxer.track.container} body")
        codec, track = self.codec, self.demuxer.track
        rate, channels = codec.rate, codec.channels
        if not (1 <= rate <= 1_000_000 and 1 <= channels <= 64):
            raise DecodeError(f"{channels} channels at {rate} Hz make no sense")
        self.spec = PcmSpec(rate, channels, codec.layout or LAYOUTS.get(channels, f"{channels} channels"))
        self._scale = (rate, track.rate)
        if track.codec in _GRID:
            self._packet = samples
        self._live = True
        self._first = (frame, samples)
        self._raw = self._ticks_to_frames(silent)
        self._set_gapless()
        self._wanted = self._lead
        if self._raw:  # damage at the very start: what was lost is silence
            self._first = None
            self.land(0)

    def _set_gapless(self) -> None:
        track, sbr = self.demuxer.track, self._packet == 2048
        self.gapless: Gapless | None = None
        if self._mode == "off":
            return
        if track.lead is not None:
            self._lead = self._ticks_to_frames(track.lead)
            if sbr and track.sbr_delay:
                self._lead += 2 * SBR_DELAY
            self.gapless = Gapless(lead=self._lead, tail=None, source=track.lead_source)
        elif self._mode == "codec" and track.codec in CODEC_PRIMING:
            self._lead = CODEC_PRIMING[track.codec] * (2 if sbr else 1) + (2 * SBR_DELAY if sbr else 0)
            self.gapless = Gapless(lead=self._lead, tail=None, source="codec")

    def _ticks_to_frames(self, ticks: int) -> int:
        up, down = self._scale
        return ticks if up == down else (ticks * up + down // 2) // down

    # ── position ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def position(self) -> int:
        return self._wanted - self._lead

    def _end(self) -> int | None:
        """The raw clock behind the last true frame, once known."""
        end = self.demuxer.end
        if end is None or self._mode == "off":
            return None
        raw = self._ticks_to_frames(end)
        track = self.demuxer.track
        return raw + 2 * SBR_DELAY if track.sbr_delay and self._packet == 2048 else raw

    def frames(self, *, wait: bool = False) -> int | None:
        """How many frames there are, where it is told; *wait* allows reading for it."""
        self.demuxer.total(wait=wait)
        return self.known_frames

    @property
    def known_frames(self) -> int | None:
        """`frames` as far as it is known without looking."""
        end = self._end()
        return None if end is None else max(end - self._lead, 0)

    def land(self, position: int, *, exact: bool = True) -> bool:
        """Make `fill` go on at *position*. Returns whether that is sure to be the place. May read, so may wait."""
        raw = self._lead + position
        preroll = self.codec.preroll(self._packet)
        if self._live and raw - self._wanted >= 0 and raw - self._raw <= max(preroll, self.spec.rate // 8):
            skipped = raw - self._wanted
            self._wanted = raw
            taken = min(skipped, self._left)
            self._offset += taken
            self._left -= taken
            return True
        self._live = False
        self._left, self._frame, self._first = 0, None, None
        back = preroll
        while True:
            target = max(raw - back, 0)
            tick = target * self._scale[1] // self._scale[0]
            landing = self.demuxer.seek(tick, exact=exact)
            label = self._snap(self._ticks_to_frames(landing.tick))
            if label <= target or target == 0 or not exact or not landing.sure:
                break
            back = back * 2 + self.spec.rate // 4  # it came down too late: aim earlier
        self.codec.reset()
        self._raw = label
        self._wanted = raw
        self._stream = self._frames()
        self._live = True
        return landing.sure

    def _snap(self, label: int) -> int:
        packet = self._packet
        return label if not packet else (label + packet // 2) // packet * packet

    # ── decoding ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _frames(self) -> Iterator[tuple[Frame | None, int]]:
        """What the codec emits, from the demuxer's place on; None for the length of a damaged packet."""
        codec = self.codec
        for data, samples in self.demuxer.packets():
            if isinstance(data, Mark):
                if data.track.codec != codec.track.codec or data.track.config != codec.track.config:
                    for frame in codec.drain():
                        yield frame, frame.samples
                    codec = self._change(data.track)
                if gap := self._gap(data):
                    yield None, gap
                continue
            try:
                frames = codec.decode(data, samples)
            except DecodeError as exc:
                self._count_bad(exc)
                if samples:
                    yield None, self._packet or self._ticks_to_frames(samples)
                continue
            if frames:
                self._bad_in_row = 0
            for frame in frames:
                yield frame, frame.samples
        for frame in codec.drain():
            yield frame, frame.samples

    def _change(self, track: Track) -> Codec:
        """Go on with packets of *track*, in the rate and channels that the stream began with."""
        self.codec = open_codec(track)
        if self._live:
            self.codec.conform(self.spec.rate, self.spec.channels)
        return self.codec

    def _gap(self, mark: Mark) -> int:
        """Frames that are missing before *mark*; where it says that some came twice, the clock is set back."""
        if mark.tick is None or not self._live:
            return 0
        label = self._snap(self._ticks_to_frames(mark.tick))
        ahead = label - self._raw
        if ahead < -max(self._packet, 1):
            self._raw = label
        return ahead if max(self._packet, 1) < ahead < MAX_GAP * self.spec.rate else 0

    def _count_bad(self, error: DecodeError) -> None:
        self.bad += 1
        self._bad_in_row += 1
        if self._bad_in_row > MAX_BAD:
            raise DecodeError(f"{self._bad_in_row} damaged packets in a row; the last: {error}") from error

    def fill(self, out: Array, at: int, count: int) -> int:
        """Put up to *count* frames into *out* from its frame *at* on; fewer only at the end. Waits for bytes.

        Raises:
            DecodeError: too much in a row is damaged, or the audio changes its shape.
        """
        if not self._live:
            self.land(self.position)
        try:
            return self._fill(out, at, count)
        except BaseException:
            self._live = False  # the demuxer is in no known place: the next call lands anew
            raise

    def _fill(self, out: Array, at: int, count: int) -> int:
        dtype = DTYPES[out.dtype.name]
        filled = 0
        while filled < count:
            if not self._left and not self._next():
                break
            take = min(self._left, count - filled)
            self._copy(out, at + filled, take, dtype)
            self._offset += take
            self._left -= take
            self._wanted += take
            filled += take
        return filled

    def _next(self) -> bool:
        """Take up the next frame that holds something wanted."""
        while True:
            if self._first is not None:
                item, self._first = self._first, None
            else:
                found = next(self._stream, None)
                if found is None:
                    return False
                item = found
            begin = self._raw
            self._raw = begin + item[1]
            end = self._end()
            stop = self._raw if end is None else min(self._raw, end)
            if end is not None and begin >= end:
                return False
            if stop <= self._wanted:
                continue
            if begin > self._wanted:
                self._wanted = begin  # an approximate landing, or a start past the lead
            self._frame = item[0]
            self._offset = self._wanted - begin
            self._left = stop - self._wanted
            return True

    def _copy(self, out: Array, at: int, take: int, dtype: int) -> None:
        frame, codec = self._frame, self.codec
        channels = self.spec.channels
        if frame is None:
            width = channels * out.itemsize
            silence(out, at * width, (at + take) * width)
            return
        planes = frame.planes
        if codec.channels != channels or codec.rate != self.spec.rate:
            if codec.rate != self.spec.rate or not (codec.planar and codec.channels == 1):
                raise DecodeError(
                    f"the audio changes from {channels} channels at {self.spec.rate} Hz"
                    f" to {codec.channels} at {codec.rate} Hz"
                )
            planes = planes * channels
        interleave(planes, codec.format, codec.planar, channels, self._offset, take, out, at, dtype)
