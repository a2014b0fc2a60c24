"""`harness report --serve`: the page on this machine alone, and what goes on beneath it.

Two addresses, "/" and "/status", are answered, to GET and HEAD, and only to pages of the server's
own address: no file of the machine can be reached, and no other site, whatever name it gave this
machine, can read anything.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from markupsafe import escape

from harness.core.errors import HarnessError
from reports.page.watching import RunningRun

ADDRESS = "127.0.0.1"
_SECONDS = 10.0
"""After which a connection that says nothing is closed."""


class PageServer:
    """Serves the newest page.

    Args:
        port: 0: any that is free.
        running: the runs that go on at the moment.
    """

    def __init__(self, port: int, running: Callable[[], Sequence[RunningRun]]) -> None:
        self._running = running
        self._page = b""
        self._digest = ""
        try:
            self._server = _Server((ADDRESS, port), _Handler)
        except OSError as error:
            raise HarnessError(
                f"Port {port} of {ADDRESS} cannot be used: {error.strerror}.",
                remedy="Pass another one with --port, or --port 0 for any that is free.",
            ) from error
        self._server.content = self._content

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self._server.server_address[1]}/"

    def show(self, page: str) -> None:
        """Serve this page from now on."""
        data = live(page).encode()
        self._page, self._digest = data, sha256(data).hexdigest()

    def start(self) -> None:
        """Answer requests, in threads that end with the process."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _content(self, path: str) -> tuple[str, bytes] | None:
        """(type, bytes) of what is at a path; None: nothing."""
        if path == "/":
            return "text/html; charset=utf-8", self._page
        if path == "/status":
            known = {"page": self._digest, "runs": [asdict(run) for run in self._running()]}
            return "application/json", json.dumps(known).encode()
        return None


def live(page: str) -> str:
    """A page with the script that notices a newer one; its policy lets it ask its own server."""
    script = (resources.files("reports.page") / "templates" / "live.js").read_text("utf-8")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    start = page.index('http-equiv="Content-Security-Policy"')
    end = page.index(">", start)
    policy = page[start:end].replace(
        str(escape("script-src '")),
        str(escape(f"connect-src 'self'; script-src 'sha256-{digest}' '")),
    )
    body, close, rest = page[end:].rpartition("</body>")
    return f"{page[:start]}{policy}{body}<script>{script}</script>\n{close}{rest}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False
    content: Callable[[str], tuple[str, bytes] | None]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "harness"
    sys_version = ""

    def do_GET(self) -> None:  # http.server's name
        self._answer()

    def do_HEAD(self) -> None:  # as above
        self._answer()

    def _answer(self) -> None:
        if not self._is_from_here():
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"This page is for its own address.\n")
            return
        found = self.server.content(self.path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is nothing else here.\n")
        else:
            self._send(HTTPStatus.OK, *found)

    def _is_from_here(self) -> bool:
        """Whether a page of this very address asks, or somebody who typed it."""
        port = self.server.server_address[1]
        own = {f"{ADDRESS}:{port}", f"localhost:{port}"}
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        sites = self.headers.get_all("Sec-Fetch-Site", [])
        return (
            len(hosts) == 1
            and hosts[0] in own
            and all(origin == f"http://{hosts[0]}" for origin in origins)
            and all(site in {"same-origin", "none"} for site in sites)
        )

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Requests are no news."""
