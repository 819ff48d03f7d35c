"""HTTP: a client for media, its limits, and the rules of what may be fetched and combined."""

from __future__ import annotations

from .body import RangedBody as RangedBody
from .client import HttpClient as HttpClient
from .document import Document as Document
from .document import Probe as Probe
from .headers import Representation as Representation
from .options import HttpOptions as HttpOptions
from .policy import Origin as Origin
from .policy import Trust as Trust
from .retry import Backoff as Backoff
