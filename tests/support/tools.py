"""Programs a test needs: absent ones skip the test here, and fail it where all of them must be installed (CI)."""

from __future__ import annotations

import os
import shutil

import pytest

IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
PACKAGES = {
    "nginx": "nginx-light",
    "ffmpeg": "ffmpeg",
    "lame": "lame",
    "flac": "flac",
    "opusenc": "opus-tools",
    "oggenc": "vorbis-tools",
    "strace": "strace",
    "node": "nodejs",
}


def require(*programs: str) -> None:
    """Skip the calling test, with the reason, unless every one of *programs* is installed. In CI it fails instead."""
    missing = [name for name in programs if find(name) is None]
    if not missing:
        return
    packages = " ".join(PACKAGES.get(name, name) for name in missing)
    reason = f"needs {', '.join(missing)} (Debian packages: {packages})"
    if IN_CI:
        pytest.fail(f"{reason}, which CI must have", pytrace=False)
    pytest.skip(reason)


def find(program: str) -> str | None:
    """Where *program* is; also in the places where Debian keeps daemons, which are on root's PATH only."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
