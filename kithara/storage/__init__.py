"""Resources on disk: small ones that change as a whole, large ones that arrive in pieces; and what they are made of."""

from .._core.ranges import RangeSet as RangeSet
from .._core.ring import RingBuffer as RingBuffer
from ..source import WaitOutcome as WaitOutcome
from .atomic import AtomicResource as AtomicResource
from .sidecar import Validators as Validators
from .streaming import StreamingResource as StreamingResource
