"""Writing decoded sound to WAV and FLAC, as a file or to a pipe."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np
import numpy.typing as npt

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleType:
    """How samples are decoded and written: the decoder's dtype, FFmpeg's name for it, WAV's codec."""

    dtype: str
    form: str
    codec: str


SAMPLE_TYPES = {
    "int16": SampleType(dtype="int16", form="s16", codec="pcm_s16le"),
    "int24": SampleType(dtype="int32", form="s32", codec="pcm_s24le"),
    "int32": SampleType(dtype="int32", form="s32", codec="pcm_s32le"),
    "float32": SampleType(dtype="float32", form="flt", codec="pcm_f32le"),
}
FLAC_TYPES = ("int16", "int24")


class Recorder:
    """Writes blocks of shape (n, channels) to *target* as they come.

    Args:
        target: A file to be written, or a binary stream such as stdout's.
        container: ``"wav"`` (RF64 beyond 4 GiB when *target* can seek) or ``"flac"``.
        samples: The sample type; blocks must have its dtype.

    Raises:
        OSError: *target* cannot be written.
    """

    def __init__(
        self, target: Path | BinaryIO, container: str, samples: SampleType, *, rate: int, channels: int
    ) -> None:
        self._samples = samples
        self._rate = rate
        self._layout = LAYOUTS[channels]
        self._frames = 0
        options = {"rf64": "auto"} if container == "wav" and isinstance(target, Path) else {}
        self._container = av.open(
            str(target) if isinstance(target, Path) else target, "w", format=container, container_options=options
        )
        codec = samples.codec if container == "wav" else "flac"
        stream = self._container.add_stream(codec, rate=rate, layout=self._layout)
        if not isinstance(stream, av.AudioStream):
            raise TypeError(f"{codec} is no audio codec")
        if container == "flac":
            stream.codec_context.format = av.AudioFormat(samples.form)
        self._stream: av.AudioStream | None = stream

    def write(self, block: npt.NDArray[np.generic]) -> None:
        """Append *block*, (n, channels)."""
        if self._stream is None:
            raise ValueError("the recorder is closed")
        if not len(block):
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block).reshape(1, -1), format=self._samples.form, layout=self._layout
        )
        frame.sample_rate = self._rate
        frame.pts = self._frames
        self._frames += len(block)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds and the final header. Closing twice does nothing."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            self._container.mux(stream.encode(None))
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            # What is written so far has no use, and the target may be why: a full disk, a pipe that nobody reads.
            self._stream = None
            with contextlib.suppress(av.FFmpegError):
                self._container.close()
