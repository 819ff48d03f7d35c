"""What a page of links says about the folder it stands for."""

from __future__ import annotations

import html.parser
from collections.abc import Callable
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit


class _Anchors(html.parser.HTMLParser):
    """Gathers the targets of a page's links."""

    def __init__(self, found: Callable[[str], object]) -> None:
        super().__init__()
        self._found = found

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if tag == "a" and name == "href" and value:
                self._found(value)


def links(page: str, url: str) -> list[str]:
    """The names, with a slash for folders, of what the *page* at *url* links to directly below itself."""
    base = urldefrag(url).url.partition("?")[0]
    base = base[: base.rfind("/") + 1]
    names: dict[str, None] = {}

    def found(target: str) -> None:
        try:
            whole = urlsplit(urljoin(url, target))
        except ValueError:
            return  # no URL
        bare = urlunsplit((whole.scheme, whole.netloc, whole.path, "", ""))
        name = bare.removeprefix(base)
        if name != bare and name.strip("/") and "/" not in name[:-1]:
            names[name] = None

    _Anchors(found).feed(page)
    return list(names)
