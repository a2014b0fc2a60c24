"""Which server is asked, as whom, and for what model.

The address comes from the command line and holds no secret; the key, and the address of a proxy,
come from the environment alone and are never written down. This module alone reads them there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from harness.checkpoints.catalog import CATALOG, ModelSpec, find
from harness.core.errors import HarnessError
from harness.core.needs import OPENAI
from harness.core.types import Style

KEYS = ("HARNESS_API_KEY", "OPENAI_API_KEY")
"""Environment variables that hold the key; the first one that is set counts, empty as no key."""
JUDGE_KEYS = ("HARNESS_JUDGE_API_KEY", "OPENAI_API_KEY")
"""The same for a judge: the key of a model's server is not sent to the judge's."""
PROXY = "HARNESS_PROXY"
"""Environment variable with a proxy to go through. Those that other programs obey are not read."""
LEAST_SECRET = 8
"""Shorter keys (EMPTY, none) are the placeholders of servers without one; they stay in texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model at an address. It has the fields of a `Checkpoint` that a record is made of."""

    name: str
    """What the run is called."""
    url: str
    """Up to and with /v1."""
    served: str
    """The model's name as the server knows it."""
    spec: ModelSpec | None = None
    """The catalogue's row whose weights the server says it has: its styles and limits hold."""
    repo: None = None
    """Only the server knows."""
    revision: None = None
    model_type: str = ""
    mini: bool = False

    @property
    def named(self) -> bool:
        return self.spec is not None

    @property
    def style(self) -> Style:
        return self.spec.style if self.spec else "direct"

    @property
    def plain_styles(self) -> tuple[Style, ...]:
        return self.spec.plain_styles if self.spec else ()

    @property
    def title(self) -> str:
        return self.name

    @property
    def size(self) -> str:
        return self.spec.size if self.spec else ""

    @property
    def licence(self) -> str:
        return self.spec.licence if self.spec else ""

    @property
    def weights(self) -> str:
        """Where the weights are, in words."""
        return f"served as {self.served} by {self.url}"


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, which is in nothing but the header of a request."""

    value: str = field(repr=False)
    source: str
    """The environment variable that it is from."""

    def hide(self, text: str) -> str:
        """`text` without the key, should a server repeat it."""
        return text.replace(self.value, "***") if len(self.value) >= LEAST_SECRET else text


def find_endpoint(model: str, *, base_url: str | None, name: str | None = None) -> Endpoint:
    """The endpoint that `--model openai:NAME` and `--base-url` mean; nothing is sent yet.

    Raises:
        HarnessError: there is no name, no address, or an address that cannot be used.
    """
    served = model.removeprefix(OPENAI)
    if not served.strip() or not served.isprintable():
        raise HarnessError(
            f"--model {OPENAI}NAME: say what the server calls the model.",
            remedy="Its own list is at URL/models.",
        )
    if base_url is None:
        raise HarnessError(
            f"--model {model} needs the address of its server.",
            remedy="--base-url http://127.0.0.1:8000/v1",
        )
    rows = [spec for spec in CATALOG if spec.repo == served]
    # The path of a folder, as `transformers serve` takes one, would be a long name.
    short = served.rstrip("/").rpartition("/")[2] if served.startswith("/") else served
    return Endpoint(
        name=name or OPENAI + short.replace("/", "--"),
        url=check_address(base_url),
        served=served,
        spec=find(served) or (rows[0] if rows else None),
    )


def check_address(base_url: str) -> str:
    """The address in one spelling, up to and with /v1 where it has no path of its own.

    Raises:
        HarnessError: it is no http(s) address, or holds more than an address.
    """
    if "@" in base_url or "?" in base_url or "#" in base_url:
        # Whatever is in it may be a secret: it is not repeated.
        raise HarnessError(
            "--base-url holds a user name, a password or a query.",
            known="It stands in the records of runs, and a secret must not.",
            remedy=f"Give the address alone, and put the key into the environment as {KEYS[0]}.",
        )
    try:
        parts = urlsplit(base_url)
        usable = _is_usable(base_url, parts)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:  # brackets that do not close, a port that is none
        usable = False
    if not usable:
        raise HarnessError(
            f"--base-url {base_url!r} is no http:// or https:// address.",
            remedy="--base-url http://127.0.0.1:8000/v1",
        )
    host = str(parts.hostname)
    host = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{host}{port}{path or '/v1'}"


def _is_usable(text: str, parts: SplitResult) -> bool:
    plain = re.fullmatch(r"[!-~]+", text) is not None and "\\" not in text  # ASCII without spaces
    return plain and parts.scheme in {"http", "https"} and bool(parts.hostname)


def is_private(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or host in {"localhost", "::1"} or host.startswith("127.")


def read_key(names: Sequence[str] = KEYS) -> Key | None:
    """The key in the environment; None where there is none, or it is empty.

    Raises:
        HarnessError: it holds what no header can; the message does not.
    """
    for name in names:
        value = os.environ.get(name)
        if value is None:
            continue
        value = value.strip()
        if not value:
            return None
        if not re.fullmatch(r"[!-~]+", value):
            raise HarnessError(
                f"The key in {name} has a space in it, or a character that is not ASCII.",
                remedy=f"Set {name} again.",
            )
        return Key(value, name)
    return None


def read_proxy() -> str | None:
    """The proxy that the user asks for; raises HarnessError where it is no address."""
    value = os.environ.get(PROXY, "").strip()
    if not value:
        return None
    try:
        usable = _is_usable(value, urlsplit(value))
    except ValueError:
        usable = False
    if not usable:
        raise HarnessError(f"{PROXY} is no http:// or https:// address.")  # it may hold a password
    return value
