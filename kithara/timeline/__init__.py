"""What happened while something played: watched, told in figures, drawn in a terminal or to a PNG."""

from .model import Fetched as Fetched
from .model import Moment as Moment
from .model import Sample as Sample
from .model import Timeline as Timeline
from .watch import Watch as Watch
