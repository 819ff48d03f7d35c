"""Libraries a test needs: absent ones skip the test or module here, and fail it where all must be installed (CI)."""

from __future__ import annotations

import importlib.util

import pytest
from support.tools import IN_CI


def need(*names: str) -> None:
    """Skip the calling test or module, with the reason, unless every library of *names* is here. In CI it fails."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}: pip install --group faces"
    if IN_CI:
        pytest.fail(f"{reason}, as CI does", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
