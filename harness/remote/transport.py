"""Requests on the wire: one at a time, with the key, and the HTTP library's errors as ours.

Nothing goes anywhere but to the address that was given: redirects are not followed, and neither
proxies, certificates nor logins are taken from the environment. This module and `exchange` alone
know the HTTP library.
"""

from __future__ import annotations

import contextlib
import json
import math
import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import httpx2

from harness.core.errors import HarnessError
from harness.core.version import __version__
from harness.remote.endpoint import PROXY, Endpoint, Key
from harness.remote.exchange import Exchange, Late, Response
from harness.remote.retries import TryAgain


@cache
def _certificates() -> ssl.SSLContext:
    """The system's certificates; reading them takes longer than a request."""
    return httpx2.create_ssl_context(trust_env=False)


class Transport:
    """The connection to one server.

    Args:
        timeout: seconds that an answer may take.
        proxy: the address of a proxy to go through; None: none, whatever the environment says.
        now: the clock.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timeout: float,
        *,
        key: Key | None,
        proxy: str | None,
        now: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._key = key
        self._now = now
        headers = {
            "User-Agent": f"harness-vlm/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # what is small when packed has no bound unpacked
            "Connection": "close",  # see exchange
        }
        if key:
            headers["Authorization"] = f"Bearer {key.value}"
        try:
            self._http = httpx2.Client(
                headers=headers,
                proxy=proxy,
                verify=_certificates(),
                trust_env=False,
                follow_redirects=False,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            )
        except (httpx2.InvalidURL, ValueError):  # whose words would repeat a password
            raise HarnessError(f"The proxy in {PROXY} cannot be used.") from None

    def send(
        self, path: str, *, body: Mapping[str, Any] | None = None, slowest: float = math.inf
    ) -> Response:
        """Whatever the server answers, its status included.

        Args:
            body: None: a GET.
            slowest: seconds that it may take, where that is less than the options' timeout.

        Raises:
            TryAgain: nobody answered, not in time, or not to the end.
            Unanswered: the answer is too large, or packed, which was not asked for.
        """
        limit = min(self._timeout, slowest)
        with self._named():
            return Exchange(
                self._http,
                self._endpoint.url + path,
                content=None if body is None else json.dumps(body).encode(),
                limit=limit,
                now=self._now,
            ).result()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """The HTTP library's errors as ours."""
        try:
            yield
        except (
            httpx2.ConnectError,
            httpx2.ConnectTimeout,
            httpx2.ProxyError,
        ) as error:
            raise TryAgain(self._words(error), away=True, lost=True) from error
        except Late as error:
            raise TryAgain(str(error), away=not error.connected, lost=True) from error
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise HarnessError(
                f"--base-url {self._endpoint.url} is no address.", known=self._words(error)
            ) from error
        except httpx2.HTTPError as error:
            reason = f"the connection broke off: {self._words(error)}"
            lost = isinstance(error, httpx2.TransportError)
            raise TryAgain(reason, away=False, lost=lost) from error

    def _words(self, error: Exception) -> str:
        detail = self.clean(str(error))
        return f"{type(error).__name__}: {detail}" if detail else type(error).__name__

    def hide(self, text: str) -> str:
        """`text` without the key, should a server repeat it."""
        return self._key.hide(text) if self._key else text

    def clean(self, text: str) -> str:
        """Words of others for a message: one line, not long, without the key."""
        return self.hide(" ".join(text.split()))[:300]
