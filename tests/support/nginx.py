"""A real nginx on loopback, and what it was asked for.

::

    with Nginx(folder) as server:
        kithara.open(server.url("song.flac"))
        server.requests()          # [Logged(method="GET", path="/song.flac", range="bytes=0-16383", status=206, ...)]
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.tools import find, require
from support.waiting import eventually

CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 512; }}
http {{
    log_format fields '$request_method\t$request_uri\t$http_range\t$status\t$body_bytes_sent\t$connection';
    access_log {home}/access.log fields;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    sendfile on;
    tcp_nodelay on;
    types {{
        audio/mpeg mp3; audio/aac aac; audio/mp4 m4a mp4; audio/flac flac; audio/ogg ogg opus oga; audio/wav wav;
        audio/webm webm; audio/x-matroska mka mkv; video/mp2t ts; video/iso.segment m4s;
        application/vnd.apple.mpegurl m3u8; text/html html; text/plain txt;
    }}
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {directives}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as nginx logged it when it ended. *sent* counts body bytes handed to the kernel."""

    method: str
    path: str
    range: str
    status: int
    sent: int
    connection: int


class Nginx:
    """Serves the files below *root* with nginx; *directives* go into the `server` block.

    Owns the process and a temporary folder; both go when the `with` block ends. Skips the test without nginx.
    """

    def __init__(self, root: Path, directives: str = "") -> None:
        require("nginx")
        self.root = root
        self.directives = directives

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="kithara-nginx-"))
        self._log = self._home / "access.log"
        # nginx takes a listening socket it inherits, so the port is ours before it starts and nobody can race for it.
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            self.port: int = listener.getsockname()[1]
            config = CONFIG.format(
                home=self._home,
                root=self.root,
                port=self.port,
                directives=self.directives,
                user="user root;" if os.geteuid() == 0 else "",
            )
            (self._home / "nginx.conf").write_text(config)
            program = find("nginx")
            assert program is not None
            self._process = subprocess.Popen(
                [program, "-p", self._home, "-c", self._home / "nginx.conf", "-e", self._home / "error.log"],
                env={**os.environ, "NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        eventually(self._started)
        return self

    def _started(self) -> bool:
        if self._process.poll() is not None:
            assert self._process.stderr is not None
            raise AssertionError(f"nginx ended: {self._process.stderr.read().decode()} {self.errors()}")
        return self._log.exists()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def stop(self) -> None:
        """Switch the server off; its port refuses from then on. Stopping twice does nothing."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path.lstrip('/')}"

    def requests(self, at_least: int = 0) -> list[Logged]:
        """The requests that have ended, in the order of their ends; waits until there are *at_least* so many."""
        eventually(lambda: len(self._lines()) >= at_least)
        found = []
        for line in self._lines():
            method, path, interval, status, sent, connection = line.split("\t")
            asked = "" if interval == "-" else interval
            found.append(Logged(method, path, asked, int(status), int(sent), int(connection)))
        return found

    def errors(self) -> str:
        """What nginx complained of."""
        log = self._home / "error.log"
        return log.read_text() if log.exists() else ""

    def _lines(self) -> list[str]:
        return [line for line in self._log.read_text().splitlines(keepends=False) if line]
