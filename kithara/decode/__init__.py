"""PCM, exact to the sample: files and segments in, frames out."""

from .decoder import Decoder as Decoder
from .gapless import Gapless as Gapless
from .load import Probe as Probe
from .load import load as load
from .load import probe as probe
from .pcm import PcmChunk as PcmChunk
from .pcm import PcmSpec as PcmSpec
from .tags import Picture as Picture
