"""Attribute lists and variables of playlist tags (RFC 8216bis, sections 4.2 and 4.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import PlaylistTooLarge

_ATTRIBUTE = re.compile(r'([^=,"]*)(?:=[ \t]*(?:"([^"]*)"[^,]*|([^,]*)))?(?:,|\Z)')
_REFERENCE = re.compile(r"\{\$([A-Za-z0-9_-]+)\}")
_NAME = re.compile(r"[A-Za-z0-9_-]+")

MAX_EXPANSION = 8 << 20
"""Characters that variable references of one playlist may grow to in all."""


def parse_attributes(text: str) -> dict[str, str]:
    """The attribute list *text* as a dict, quotes taken off. Blanks around names and values do not count.

    An attribute without a value has the value ``""``. Raises ValueError for a quote that is never closed.
    """
    attributes: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _ATTRIBUTE.match(text, position)
        if match is None:
            raise ValueError("unexpected quote in an attribute list")
        name, quoted, plain = match.groups()
        if plain is not None and plain.startswith('"'):
            raise ValueError("unbalanced quote in an attribute list")
        if name := name.strip(" \t"):
            attributes[name] = quoted if quoted is not None else (plain or "").strip(" \t")
        position = match.end()
    return attributes


class Variables:
    """The variables of one playlist: defined by ``EXT-X-DEFINE``, named as ``{$name}``.

    Args:
        url: The playlist's own URL, for ``QUERYPARAM``.
        imported: The master playlist's variables, for ``IMPORT``.
    """

    def __init__(self, url: str, imported: Mapping[str, str] | None) -> None:
        self.values: dict[str, str] = {}
        self._url = url
        self._imported = imported
        self._grown = 0

    def define(self, attributes: Mapping[str, str]) -> None:
        """Add the variable that an ``EXT-X-DEFINE`` tag names. Raises ValueError, with the reason."""
        if "NAME" in attributes:
            name = attributes["NAME"]
            if "VALUE" not in attributes:
                raise ValueError(f"variable {name!r} has no VALUE")
            value = attributes["VALUE"]
        elif "IMPORT" in attributes:
            name = attributes["IMPORT"]
            if self._imported is None or name not in self._imported:
                raise ValueError(f"variable {name!r} is not defined in the master playlist")
            value = self._imported[name]
        elif "QUERYPARAM" in attributes:
            name = attributes["QUERYPARAM"]
            value = self._query_value(name)
            if not value:
                raise ValueError(f"the playlist's URL has no query parameter {name!r}")
        else:
            raise ValueError("EXT-X-DEFINE without NAME, IMPORT or QUERYPARAM")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a variable name")
        if name in self.values:
            raise ValueError(f"variable {name!r} is defined twice")
        self.values[name] = value

    def expand(self, text: str) -> str:
        """*text* with every ``{$name}`` replaced. Raises ValueError for an undefined one."""
        if "{$" not in text:
            return text
        expanded = _REFERENCE.sub(self._value, text)
        self._grown += len(expanded)
        return expanded

    def _value(self, match: re.Match[str]) -> str:
        value = self.values.get(match[1])
        if value is None:
            raise ValueError(f"variable {match[1]!r} is not defined")
        self._grown += len(value)
        if self._grown > MAX_EXPANSION:
            raise PlaylistTooLarge("variables expand to too much text", url=self._url)
        return value

    def _query_value(self, name: str) -> str:
        """As it stands in the URL, escapes and all: a token put into another URL must arrive unchanged."""
        query = self._url.partition("#")[0].partition("?")[2]
        for pair in query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return ""
