"""The package's logger: silent unless the application listens, and never with a secret in it."""

from __future__ import annotations

import logging
import re
from typing import Any

from ..errors import redact_url

logging.getLogger("kithara").addHandler(logging.NullHandler())

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def redact(text: str) -> str:
    """*text* with every URL in it shown without user info, query and fragment."""
    return _URL.sub(lambda match: redact_url(match.group()), text)


class Redacting(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines hold redacted URLs only, whatever is passed to it."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log *msg* with *args*, formatted and redacted before any handler sees it."""
        if self.isEnabledFor(level):
            text = str(msg) % args if args else str(msg)
            super().log(level, "%s", redact(text), stacklevel=2, **kwargs)


def logger(area: str) -> Redacting:
    """The logger ``kithara.<area>``."""
    return Redacting(logging.getLogger(f"kithara.{area}"))
