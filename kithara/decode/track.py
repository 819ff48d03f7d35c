"""What a container tells about its audio, and what a demuxer is: packets with a raw clock.

The raw clock counts everything the codec emits, from the first packet's first sample (0) on, padding and priming
included, in *ticks* of `Track.rate`. Gapless facts are positions on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..errors import DecodeError, UnsupportedMedia
from .tags import Picture, Tags

__all__ = ["Demuxer", "Landing", "Mark", "Packet", "Track", "alike"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The audio track, as its container describes it.

    Attributes:
        codec: Our name of the codec (see `kithara.media.MediaInfo`).
        container: Our name of the container.
        config: What the codec needs before its first packet; FFmpeg's *extradata*.
        rate: Ticks of the raw clock per second; for nearly all codecs the sample rate.
        channels: As declared; the decoder's own word counts.
        lead: Ticks before the first true sample, or None where nothing is told.
        lead_source: Who told it: ``"lame" "elst" "iTunSMPB" "opus-head"…``
        sbr_delay: *lead* leaves out the delay of the SBR decoder (iTunSMPB does).
        packet: Ticks of each packet where all are alike, else 0.
        coded: Ticks that all packets together give, padding included, where that is told.
        bitrate, profile: Where told.
        told_duration: Seconds, where the container tells them without being exact to the sample.
    """

    codec: str
    container: str
    config: bytes = b""
    rate: int
    channels: int = 0
    lead: int | None = None
    lead_source: str = ""
    sbr_delay: bool = False
    packet: int = 0
    coded: int | None = None
    bitrate: int | None = None
    profile: str | None = None
    told_duration: float | None = None


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a seek came down: the next packet begins at *tick*; *sure* unless that is an estimate.

    Packets are those of *track*, where that may not be the one the demuxer began with. Where all are alike, one begins
    a multiple of their length from the start: *tick* is rounded to that, unless it is *counted* in another way.
    """

    tick: int
    sure: bool = True
    track: Track | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Stands among the packets where the stream does not simply go on.

    Attributes:
        tick: Where the next packet begins, if that is told.
        track: What the packets that follow are of, if that may be another than before.
        lost: Without a track: ticks of packets that damage made unreadable.
        fresh: The decoder begins anew: what follows builds on nothing before.
        again: Some of what follows was there before, from elsewhere: *tick* is true to the frame.
        skip: Ticks of the fresh *track*, at its own rate, that are no music: its priming.
        limit: Without a track: how many ticks of the packets up to the next mark are music.
    """

    tick: int | None = None
    track: Track | None = None
    lost: int = 0
    fresh: bool = False
    again: bool = False
    skip: int = 0
    limit: int | None = None


Packet = tuple[bytes | memoryview | Mark, int]
"""A codec packet and its nominal length in ticks (0: only the decoder knows); or a `Mark` and -1."""


class Demuxer(ABC):
    """Packets of one audio track, from any place on. Owned by one thread at a time.

    Attributes:
        track: What the container told.
        end: The tick behind the last true sample, once it is known.
        first: The tick of the first packet there is, where nothing is before that: a broadcast is joined in its middle,
            a presentation may begin with a gap.
        joined: It is a broadcast: nothing stands for what was before.
        aside: It was opened in the middle of what there is: its first packet is not the first one.
        variant: Which HLS variant the last packet came from, or None.
        variants: What `set_variant` chooses from.
        closing: Packets of another track may follow soon, which begin before the end of these.
    """

    container: ClassVar[str]
    track: Track
    end: int | None = None
    first: int = 0
    joined: bool = False
    aside: bool = False
    variant: int | None = None
    variants: Sequence[Any] = ()
    closing: bool = False

    @abstractmethod
    def packets(self) -> Iterator[Packet]:
        """Packets from where the last `seek` landed (the start, before any). Waits for bytes."""

    @abstractmethod
    def seek(self, tick: int, *, exact: bool = True) -> Landing:
        """Make `packets` begin with a packet at or before *tick*; later only where no earlier one exists.

        With *exact* False the landing may be an estimate, if that spares reading what lies between.
        """

    def set_variant(self, variant: int | Literal["auto"]) -> None:
        """Pin a variant from the next segment on, or let the source choose."""
        raise UnsupportedMedia(f"a {self.track.container} file has no variants")

    def total(self, *, wait: bool = False) -> int | None:
        """`end`, looked up where that costs no network; *wait* allows it to."""
        return self.end

    def tags(self) -> tuple[Tags, tuple[Picture, ...]]:
        """Title, artist and so on, and pictures. May read."""
        return {}, ()


def alike(one: Track, other: Track) -> bool:
    """Whether one codec can go on from packets of *one* to those of *other*."""
    return (one.codec, one.config, one.rate) == (other.codec, other.config, other.rate)


def need(data: bytes, size: int, what: str, offset: int) -> bytes:
    """*data*, if it holds *size* bytes; else DecodeError saying that *what* is cut off."""
    if len(data) < size:
        raise DecodeError(f"{what} is cut off after {len(data)} of {size} bytes", range=(offset, offset + size))
    return data
