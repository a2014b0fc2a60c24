"""A server on this machine that answers as a test wants it to, and keeps every request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LISTED = {"id": "tiny", "object": "model", "owned_by": "tests", "created": 1, "root": "tiny-root"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    port: int = 0
    """The client's: one for each connection."""

    @property
    def text(self) -> str:
        """The user's words."""
        return self.body["messages"][0]["content"][-1]["text"]

    @property
    def pictures(self) -> list[str]:
        """As data URLs."""
        content = self.body["messages"][0]["content"]
        return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


@dataclass(frozen=True)
class Said:
    """What goes over the wire."""

    body: Any = b""
    """Bytes as they are, anything else as JSON."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """Bytes that Content-Length promises beyond those that come."""
    pieces: Sequence[bytes] = ()
    """In place of a body: bytes that come one after the other, without a length."""
    hang_up: bool = False
    """Close the connection without a word."""


Answer = Callable[[Request], Said]


def completion(text: str | None, *, finish: str = "stop", **message: Any) -> Said:
    """A chat completion as servers write it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": finish,
    }
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    return Said({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


def letter(request: Request) -> Said:
    """A letter that depends on the whole question, and on nothing else."""
    asked = json.dumps(request.body["messages"]).encode()
    return completion("The answer is " + "AB"[sha256(asked).digest()[0] % 2] + ".")


def _document(data: bytes) -> Any:
    """JSON, or the lines of JSON that a commit consists of."""
    try:
        return json.loads(data)
    except ValueError:
        return [json.loads(line) for line in data.splitlines()]


class Server:
    """Answers questions by `answer`; the list of models by `models`."""

    def __init__(self, answer: Answer = letter, *, port: int = 0) -> None:
        self.answer = answer
        self.models: Answer = lambda _: Said({"object": "list", "data": [LISTED]})
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return self._http.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def questions(self) -> list[Request]:
        """The requests for a completion, in the order in which they came."""
        return [request for request in self.requests if request.method == "POST"]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def refuse(self) -> None:
        """No connection is taken any more; to be called from a request."""
        self._http.socket.close()
        self._http.shutdown()  # else its thread polls the closed socket, at full speed and for good

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, request: Request) -> Said:
        with self._lock:
            self.requests.append(request)
        return (self.answer if request.method == "POST" else self.models)(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                port = self.client_address[1]
                self._give(server._take(Request("GET", self.path, dict(self.headers), None, port)))

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(
                    "POST",
                    self.path,
                    dict(self.headers),
                    _document(data),
                    self.client_address[1],
                )
                self._give(server._take(request))

            def do_CONNECT(self) -> None:
                server._take(Request("CONNECT", self.path, dict(self.headers), None))
                self.close_connection = True

            def _give(self, said: Said) -> None:
                if said.hang_up:
                    self.close_connection = True
                    return
                body = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                self.send_response(said.status)
                headers = {"Content-Type": "application/json", **said.headers}
                if not said.pieces:
                    headers.setdefault("Content-Length", str(len(body) + said.missing))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for piece in said.pieces or [body]:
                        self.wfile.write(piece)
                        self.wfile.flush()
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client has heard enough

            def log_message(self, *_: object) -> None:
                pass

        return Handler
