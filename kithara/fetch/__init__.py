"""Filling a store from a network: what to ask for, and the loop that brings it."""

from __future__ import annotations

from .filler import FOLLOW_EVERY as FOLLOW_EVERY
from .filler import Filler as Filler
from .transfer import QUANTUM as QUANTUM
