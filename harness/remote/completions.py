"""The body of a completion request, and what the response's body says."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from harness.core.types import REFUSAL

LIMIT, NEWER_LIMIT = "max_tokens", "max_completion_tokens"
"""The parameter for the token limit, and its name in newer servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One completion."""

    text: str
    finish: str
    """The server's finish_reason, or REFUSAL."""
    tokens_in: int | None
    tokens: int | None
    seconds: float
    """From sending the request to the last byte, earlier tries left out."""


def parse_reply(data: Any, seconds: float) -> Reply:
    """What a completion says; raises one of the errors of taking things for what they are
    not."""
    choice = data["choices"][0]
    message = choice["message"]
    content = message.get("content")
    if isinstance(content, list):  # of parts, as some servers have it
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    refusal, finish = message.get("refusal"), choice.get("finish_reason")
    if content is not None and not isinstance(content, str):
        raise TypeError("content is no text")
    if isinstance(refusal, str) and refusal:
        content, finish = content or refusal, REFUSAL
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        text=content or "",
        finish=finish if isinstance(finish, str) else "",
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
    )


def _count(value: object) -> int | None:
    """A number of tokens, where it is one."""
    is_one = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_one else None  # type: ignore[return-value]  # an int by the line above


def without(body: Mapping[str, Any], refused: AbstractSet[str]) -> dict[str, Any]:
    """The request without the parameters that are not taken, and the limit under its newer name."""
    sent = {name: value for name, value in body.items() if name not in refused}
    if LIMIT in refused and LIMIT in body:
        sent[NEWER_LIMIT] = body[LIMIT]
    return sent
