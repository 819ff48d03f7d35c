"""Where the true audio of an MP4 track begins and ends: edit list, iTunSMPB, Opus' own header, sample durations."""

from __future__ import annotations

from . import boxes as iso
from .track import Track

__all__ = ["Timing"]


class Timing:
    """Where the true audio lies on a track's clock: edit list over iTunSMPB over Opus' pre-skip over nothing."""

    def __init__(self, sound: iso.SoundTrack, smpb: tuple[int, int, int] | None, total: int | None) -> None:
        self._sound = sound
        self.lead: int | None = None
        self.end = total
        self.source: str = ""
        self.sbr_delay: bool = False
        if sound.edit_start is not None and (sound.edit_start or smpb is None):  # an edit from 0 tells of no priming
            self.lead, self.source = sound.edit_start, "elst"
            length = sound.edit_length or 0
            # The edit's own length is only as exact as the movie's timescale: it counts where it is clearly shorter.
            if total is not None and length and sound.edit_start + length < total - 2 * max(sound.edit_grain, 1):
                self.end = round(sound.edit_start + length)
        elif smpb is not None and sound.rate:
            # iTunSMPB counts at the core's rate, which for SBR may be half of what the sample entry says.
            priming, _, length = smpb
            self.lead, self.source, self.sbr_delay = priming, "iTunSMPB", True
            self.end = priming + length
        elif sound.codec == "opus":
            skip = int.from_bytes(sound.config[10:12], "little")
            self.lead, self.source = skip * sound.timescale // 48000, "opus-head"
        elif sound.codec in ("flac", "alac") or sound.codec.startswith("pcm"):
            self.lead, self.source = 0, "stts"

    def track(self, container: str, *, packet: int, told_duration: float | None) -> Track:
        """The track, of packets of *packet* ticks (0: not all alike)."""
        sound = self._sound
        return Track(
            codec=sound.codec,
            container=container,
            config=sound.config,
            rate=sound.timescale,
            channels=sound.channels if sound.codec != "aac" else 0,  # the codec's own word counts
            lead=self.lead,
            lead_source=self.source,
            sbr_delay=self.sbr_delay,
            packet=packet,
            told_duration=told_duration,
        )
