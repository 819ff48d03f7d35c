"""Demuxer and codec on one timeline: any frame of the true audio, exactly, into an array.

Positions here are frames at the codec's output rate. The *raw* clock counts all that the codec emits; position p is raw
``lead + p``. A landing labels the first packet, after that frames are counted and no timestamp is looked at again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .._core.pcm import DTYPES, FORMATS
from .._core.pour import Pour
from ..errors import DecodeError
from .blend import BLEND, Blended, Seam
from .codec import DAMAGE, Codec, Frame, RawFrame, new_packet, open_codec, planes_of
from .gapless import CODEC_PRIMING, LOSSLESS, SBR_DELAY, Gapless, GaplessMode
from .pcm import LAYOUTS, Array, PcmSpec
from .track import Demuxer, Mark, Track, alike

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Engine"]

MAX_BAD = 64
"""Damaged packets in a row, none good between, that end the decoding."""
END = (None, 0)
MAX_GAP = 600
"""Seconds of missing media that silence stands for; more is a broken clock."""
JOINT = 64
"""Frames of difference that are let pass where a lossy codec takes over: resampling rounds."""
_GRID = {"aac", "mp3", "mp2", "opus", "ac3", "eac3"}
"""Codecs whose packets all give the same number of frames: a label is snapped to their grid."""


class Engine(Pour):
    """Frames of *demuxer* from any position on. Owned by one thread at a time.

    Attributes:
        spec: Rate and channels of what is decoded.
        gapless: What is trimmed, or None where nothing is told.
        position: The frame `fill` gives next.
        bad: Damaged packets met so far; silence stands for them.
    """

    rate: int
    channels: int
    format: int
    planar: bool
    lanes: int
    stream: Iterator[Frame]

    def __init__(self, demuxer: Demuxer, gapless: GaplessMode) -> None:
        self.demuxer = demuxer
        self.codec: Codec = open_codec(demuxer.track)
        self.bad: int = 0
        self._mode = gapless
        self._packet = 0  # frames that a packet of the grid's codecs gives
        self._scale = (1, 1)  # output frames for ticks
        self._own_packet = 0  # of the track that the stream began with
        self._lead = 0
        self._shift = 0  # what the raw clock of the track that is decoded now is ahead of the first one's
        self._met = False
        self._live = False
        self._joins = len(demuxer.variants) > 1
        self._left: int | None = None  # the variant whose end is still to come while another's beginning is decoded
        self._start()
        self._meet()

    # ── opening ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _meet(self) -> None:
        """Decode the first frame: only then rate, channels and SBR are sure."""
        silent = 0
        codec, track = self.codec, self.demuxer.track
        for frame in self.stream:
            if planes_of(frame):
                codec.look(frame)
                break
            silent += frame.samples
        else:
            if self.demuxer.end != 0 or codec.format < 0:
                raise DecodeError(f"no audio could be decoded from this {track.container} body")
            frame = RawFrame((b"",), 0, track.rate)  # a whole file of nothing, of which all is told
        rate, channels = codec.rate, codec.channels
        if not (1 <= rate <= 1_000_000 and 1 <= channels <= 64):
            raise DecodeError(f"{channels} channels at {rate} Hz make no sense")
        self.spec: PcmSpec = PcmSpec(rate, channels, codec.layout or LAYOUTS.get(channels, f"{channels} channels"))
        self.rate, self.channels = rate, channels
        self.format, self.planar, self.lanes = codec.format, codec.planar, codec.lanes
        self._scale = (rate, track.rate)
        if track.codec in _GRID:
            self._packet = self._own_packet = frame.samples
        self._live = self._met = True
        self._seam.reach = round(BLEND * rate)
        self.stream = itertools.chain((frame,), self.stream)
        self.raw: int = self._ticks_to_frames(silent)
        self._set_lead()
        self.mark_end()
        self.gapless: Gapless | None = self._describe_gapless()
        self.wanted: int = self._lead
        first = self._label(self.demuxer.first)
        if first and self.demuxer.joined:
            self.raw += first
            self.wanted = self.raw
        elif first:
            self.stream = itertools.chain(_silence(first), self.stream)
        elif self.raw or self.demuxer.aside:  # damage at the very start: what was lost is silence
            self._live = False

    def _set_lead(self) -> None:
        track, sbr = self.demuxer.track, self._packet == 2048
        self._lead_source = ""
        if self._mode == "off":
            return
        if track.lead is not None:
            self._lead = self._ticks_to_frames(track.lead) + (2 * SBR_DELAY if sbr and track.sbr_delay else 0)
            self._lead_source = track.lead_source
        elif self._mode == "codec" and track.codec in CODEC_PRIMING:
            self._lead = CODEC_PRIMING[track.codec] * (2 if sbr else 1) + (2 * SBR_DELAY if sbr else 0)
            self._lead_source = "codec"

    def _describe_gapless(self) -> Gapless | None:
        if not self._lead_source:
            return None
        coded = self.demuxer.track.coded
        tail = None if coded is None or self.end < 0 else max(self._ticks_to_frames(coded) - self.end, 0)
        return Gapless(lead=self._lead, tail=tail, source=self._lead_source)

    def _ticks_to_frames(self, ticks: int) -> int:
        up, down = self._scale
        return ticks if up == down else (ticks * up + down // 2) // down

    # ── position ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def position(self) -> int:
        return self.wanted - self._lead

    @property
    def variant(self) -> int | None:
        """The variant of what was given last."""
        return self._left if self._seam.crossing else self.demuxer.variant

    @property
    def closing(self) -> bool:
        """Whether another codec may take over soon."""
        return self.demuxer.closing

    def mark_end(self) -> None:
        """Take over where the demuxer says that the true audio ends."""
        tick, track = self.demuxer.end, self.demuxer.track
        self.end_tick = tick
        if self._mode == "off" and not (track.codec in LOSSLESS or track.codec.startswith("pcm")):
            tick = track.coded
        if tick is None:
            self.end = -1
        else:
            late = track.sbr_delay and self._packet == 2048 and self._mode != "off"
            self.end = self._ticks_to_frames(tick) + (2 * SBR_DELAY if late else 0) + self._shift

    def frames(self, *, wait: bool = False) -> int | None:
        """How many frames there are, where it is told; *wait* allows reading for it."""
        self.demuxer.total(wait=wait)
        return self.known_frames

    @property
    def known_frames(self) -> int | None:
        """`frames` as far as it is known without looking."""
        if self.demuxer.end != self.end_tick:
            self.mark_end()
        return None if self.end < 0 else max(self.end - self._lead, 0)

    def land(self, position: int, *, exact: bool = True) -> bool:
        """Make `fill` go on at *position*. Returns whether that is sure to be the place. May read, so may wait."""
        raw = self._lead + position
        preroll = self.codec.preroll(self._packet)
        if self._live and raw - self.wanted >= 0 and raw - self.raw <= max(preroll, self.spec.rate // 8):
            self.skip(raw - self.wanted)
            return True
        self._live = False
        self.drop()
        if self.known_frames is not None and raw >= self.end:  # past the end there is nothing to look for
            self.raw = self.wanted = raw
            self.stream = iter(())
            self._live = True
            return True
        back = preroll
        while True:
            target = max(raw - back, 0)
            tick = max(target - self._shift, 0) * self._scale[1] // self._scale[0]
            landing = self.demuxer.seek(tick, exact=exact)
            if landing.track is not None:
                self._turn_to(landing.track, counted=landing.counted)
            label = self._ticks_to_frames(landing.tick) if landing.counted else self._label(landing.tick)
            needed = max(raw - self.codec.preroll(self._packet), 0)
            if label <= needed or target == 0 or not exact or not landing.sure:
                break
            if self.demuxer.joined and landing.tick > tick:  # what was before is offered no more
                break
            back = back * 2 + self.spec.rate // 4  # it came down too late: aim earlier
        self.codec.reset()
        self.raw = label
        self.wanted = raw
        self._start()
        if self.demuxer.first and not self.demuxer.joined and exact and label > raw:
            self.stream = itertools.chain(_silence(label - raw), self.stream)
            self.raw = raw
        self._live = True
        return landing.sure

    def _label(self, tick: int) -> int:
        """The raw frame that a packet at *tick* begins with: on the grid of packets, where there is one."""
        label, packet = self._ticks_to_frames(tick), self._packet
        return self._shift + (label if not packet else (label + packet // 2) // packet * packet)

    # ── decoding ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        """Begin a stream at the demuxer's place. Where no other codec can follow, nothing is ever held back."""
        self._seam = Seam(self, round(BLEND * self.spec.rate) if self._met else 0)
        self.stream = self._seam.around(self._frames(self._seam.through)) if self._joins else self._frames(iter)

    def _frames(self, given: Callable[[Iterable[Frame]], Any]) -> Iterator[Frame]:
        """What the codec emits, as far as it is *given*, from the demuxer's place on; a frame without planes for what
        is damaged.
        """
        demuxer = self.demuxer
        packets = iter(demuxer.packets())
        while True:
            codec = self.codec
            if codec.plain:
                found = yield from given(self.plain(packets, demuxer, new_packet, codec.decode_packet, DAMAGE))
                if found is None:
                    break
                data, samples, error = found
            else:
                data, samples = next(packets, END)
                if data is None:
                    break
                error = None
            if isinstance(data, Mark):
                yield from self._marked(data, given)
                continue
            try:
                if error is not None:
                    raise codec.refusal(error) from error
                frames = codec.decode(data, samples)
            except DecodeError as exc:
                self._count_bad(exc)
                if samples:
                    yield from given(_silence(self._packet or self._ticks_to_frames(samples)))
                continue
            if demuxer.end != self.end_tick:
                self.mark_end()
            if frames:
                self.bad_in_row: int = 0
                if codec.format != self.format and self._live:
                    yield from self._seam.release()  # these are of the format before
                    self.rate = 0  # no frame's: the first of them is shown to `adapt`
                yield from given(frames)
        yield from given(self.codec.drain())

    def _marked(self, mark: Mark, given: Callable[[Iterable[Frame]], Any]) -> Iterator[Frame]:
        """What a mark calls for: silence for what is missing, another codec."""
        track, codec = mark.track, self.codec
        if track is None:
            if mark.limit is not None:
                codec.cut(limit=mark.limit)
                return
            self.bad += 1
            if mark.fresh:
                codec.reset()
            # Ahead of the first frame nothing is scaled yet: these are the track's ticks.
            rate = self.spec.rate if self._live else self.demuxer.track.rate
            yield from given(_silence(min(self._ticks_to_frames(mark.lost), MAX_GAP * rate)))
            return
        least = max(self._packet, 1024)  # less is a clock's rounding or a codec's delay
        strange = not alike(track, codec.track)
        if strange or mark.fresh:
            yield from given(codec.drain())
        if strange or mark.fresh or mark.again:
            least = 0 if track.codec in LOSSLESS else JOINT
        tick = mark.tick if strange and self._seam.keep() else None
        if tick is None:
            yield from self._seam.release()
        self._turn_to(track, fresh=mark.fresh, counted=mark.tick is None)
        if mark.skip:
            self.codec.cut(skip=mark.skip)
        if tick is not None:
            self._left = self.variant
            yield from self._seam.cross(self._label(tick))
        if gap := self._gap(mark, least):
            yield from given(_silence(gap))

    def _turn_to(self, track: Track, *, fresh: bool = False, counted: bool = False) -> None:
        """Go on with packets of *track*, in the rate and channels that the stream began with.

        Their ticks go on with those before, if *counted*; else they are *track*'s own.
        """
        own = alike(track, self.demuxer.track)
        if fresh or not alike(track, self.codec.track):
            self.codec = open_codec(track)
            if self._met and not own:
                self.codec.conform(self.spec.rate, self.spec.channels)
        if self._met:
            grid = track.codec in _GRID and self.spec.rate % track.rate == 0
            other = track.packet * (self.spec.rate // track.rate) if grid else 0
            self._packet = self._own_packet if own else other
            same = counted or (own and track.lead == self.demuxer.track.lead)
            self._shift = 0 if same else self._lead - self._lead_of(track)

    def _lead_of(self, track: Track) -> int:
        """Frames before the first true one of *track*, which is not the one that the stream began with."""
        ticks = track.lead or 0
        if self._mode == "codec" and track.lead is None:
            ticks = CODEC_PRIMING.get(track.codec, 0)
        return 0 if self._mode == "off" else round(ticks * self.spec.rate / track.rate)

    def _gap(self, mark: Mark, least: int) -> int:
        """Frames that are missing before *mark*, if more than *least*; where some came twice, the clock is set back."""
        if mark.tick is None or not self._live:
            return 0
        ahead = self._label(mark.tick) - self._seam.clock
        if ahead < -least:
            self._seam.turn(ahead)
        return ahead if least < ahead < MAX_GAP * self.spec.rate else 0

    def _count_bad(self, error: DecodeError) -> None:
        self.bad += 1
        self.bad_in_row += 1
        if self.bad_in_row > MAX_BAD:
            raise DecodeError(f"{self.bad_in_row} damaged packets in a row; the last: {error}") from error

    def fill(self, out: Array, at: int, count: int) -> int:
        """Put up to *count* frames into *out* from its frame *at* on; fewer only at the end. Waits for bytes.

        Raises:
            DecodeError: too much in a row is damaged, or the audio changes its shape.
        """
        if not self._live:
            self.land(self.position)
        try:
            return self.pour(out, at, count, DTYPES[out.dtype.name])
        except BaseException:
            self._live = False  # the demuxer is in no known place: the next call lands anew
            raise

    def planes(self, frame: Frame) -> tuple[Buffer, ...]:
        """Its planes, all of them and no more."""
        return planes_of(frame)

    def adapt(self, frame: Frame) -> tuple[Buffer, ...]:
        """Take over what *frame* is like, if the stream can go on with it.

        Raises:
            DecodeError: it cannot.
        """
        codec, spec = self.codec, self.spec
        if isinstance(frame, Blended):
            self.format, self.planar, self.lanes = frame.format, False, 1
            self.rate = 0  # no frame's: the next one is looked at, too
            return frame.planes
        codec.look(frame)
        self.format, self.planar, self.lanes, self.rate = codec.format, codec.planar, codec.lanes, spec.rate
        if codec.rate == spec.rate and codec.channels == spec.channels:
            return planes_of(frame)[: codec.lanes]
        if codec.rate == spec.rate and codec.channels == 1:
            self.planar, self.lanes = True, spec.channels  # the same for every channel
            return planes_of(frame)[:1] * spec.channels
        if codec.rate == spec.rate and (mixed := codec.mixed(frame, spec.channels)) is not None:
            (self.format, self.planar), self.lanes = FORMATS["fltp"], spec.channels
            return planes_of(mixed)[: spec.channels]
        raise DecodeError(
            f"the audio changes from {spec.channels} channels at {spec.rate} Hz to {codec.channels} at {codec.rate} Hz"
        )


def _silence(samples: int) -> tuple[Frame]:
    return (RawFrame((), samples, 0),)
