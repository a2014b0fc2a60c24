"""One request and its response, on a connection of its own, with one time limit for all of it.

The HTTP library limits each step by itself: the name's resolution not at all, each address of a
host anew, each piece of a header or a body that arrives. Here the request runs on a thread of its
own. When the time is over its connection is cut, and nobody waits for it any longer.

A connection carries one request, because what a server sends after an answer would otherwise be
taken for the answer to the next one, and HTTP cannot tell them apart.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer; a completion of 8,192 tokens has some 40,000."""
SLOWEST_CONNECTION = 10.0
"""Seconds to reach one address."""


class Unanswered(Exception):  # noqa: N818  # an outcome, in the row of its question
    """One request that has failed for good, and why."""


class Late(Exception):  # noqa: N818  # an outcome
    """The time was over before the response was whole."""

    def __init__(self, limit: float, *, connected: bool) -> None:
        what = "no whole answer" if connected else "no connection"
        super().__init__(f"{what} within {limit:g} s")
        self.connected = connected


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    seconds: float


class Exchange:
    """One request, to be sent once.

    Args:
        content: the body of a POST; None: a GET.
        limit: seconds for all of it.
        now: the clock that `Response.seconds` is read from.
    """

    def __init__(
        self,
        http: httpx2.Client,
        url: str,
        *,
        content: bytes | None,
        limit: float,
        now: Callable[[], float],
    ) -> None:
        self._http = http
        self._url = url
        self._content = content
        self._limit = limit
        self._now = now
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False
        self._done = threading.Event()
        self._result: Response | BaseException | None = None

    def result(self) -> Response:
        """Send the request and wait for the response.

        Raises:
            Late: it did not come in time.
            Unanswered: it is too large, or packed, which was not asked for.
            httpx2.HTTPError: the connection failed.
        """
        # A daemon, unlike an executor's threads: an interrupt does not wait for it.
        threading.Thread(target=self._run, daemon=True).start()
        if not self._done.wait(self._limit):
            raise Late(self._limit, connected=self._break_off())
        if isinstance(self._result, Response):
            return self._result
        assert self._result is not None
        raise self._result

    def _run(self) -> None:
        try:
            self._result = self._exchange()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._result = error
        finally:
            self._done.set()

    def _exchange(self) -> Response:
        started = self._now()
        # That of a step is longer than the whole exchange has: whatever waits is cut off.
        timeout = httpx2.Timeout(
            2 * self._limit, connect=min(SLOWEST_CONNECTION, self._limit), pool=None
        )
        with self._http.stream(
            "GET" if self._content is None else "POST",
            self._url,
            content=self._content,
            headers={} if self._content is None else {"Content-Type": "application/json"},
            timeout=timeout,
            extensions={"trace": self._trace},
        ) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Unanswered("the answer is compressed, which was not asked for")
            pieces, size = [], 0
            for piece in response.iter_raw():
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST:
                    raise Unanswered(f"the answer has more than {LARGEST:,} bytes")
        headers = dict(response.headers)
        return Response(response.status_code, headers, b"".join(pieces), self._now() - started)

    def _trace(self, _: str, info: Mapping[str, Any]) -> None:
        """Keep the connection's socket; the library calls this at each of its steps."""
        stream: Any = info.get("return_value")
        if not hasattr(stream, "get_extra_info"):
            return
        with self._lock:
            self._socket = stream.get_extra_info("socket")
            if self._cut:
                raise Late(self._limit, connected=True)

    def _break_off(self) -> bool:
        """Cut the connection; whether there was one."""
        with self._lock:
            self._cut = True
            if self._socket is None:
                return False
            with contextlib.suppress(OSError):  # it is closed already
                # Not SSLSocket's own, which does more than to wake up the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            return True
