"""PCM, exact to the sample: files and segments in, frames out."""

from .audio_stream import AudioStream as AudioStream
from .decoder import Decoder as Decoder
from .gapless import Gapless as Gapless
from .happenings import AudioStats as AudioStats
from .happenings import Buffering as Buffering
from .happenings import Ended as Ended
from .happenings import Sought as Sought
from .happenings import VariantSwitched as VariantSwitched
from .load import Probe as Probe
from .load import load as load
from .load import probe as probe
from .pcm import PcmChunk as PcmChunk
from .pcm import PcmSpec as PcmSpec
from .tags import Picture as Picture
