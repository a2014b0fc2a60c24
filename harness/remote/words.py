"""What a server says of an error: in its own words, and wherever it puts them.

There is no standard. Words come as `{"error": {"message": ...}}`, as a text under `error`, as
`detail` (a text, or a list of what is wrong where), next to `choices` or in a choice, as plain
text, as a page; with a status of their own, or within HTTP 200.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.json_values import parse_json

_WORDS = (
    "message",
    "msg",
    "detail",
    "error",
    "errors",
    "error_message",
    "error_msg",
    "reason",
    "description",
    "title",
    "status_msg",
    "raw",
)
"""Keys under which words stand, the most specific ones first."""
_STATUSES = ("code", "status", "status_code", "error_code")
_LONGEST = 300
_PARAMETERS = ("max_completion_tokens", "max_tokens", "temperature", "top_p", "seed")
# What servers say of a parameter, or a value of one, that they do not take at all. Not of one that
# is too large for this question.
_NOT_TAKEN = re.compile(
    r"unsupported|not[ _]support|isn't supported|un(?:known|recogni[sz]ed|expected)"
    r"|extra[ _](?:input|field|forbidden)|forbidden|not (?:permitted|allowed|accepted|available)"
    r"|no longer|deprecated|removed|use '?`?max_completion_tokens|only the default"
    r"|strictly positive"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that a server reports."""

    status: int
    """HTTP's, or in its place the one that the body states; 200: neither says more."""
    words: str
    """The server's own, on one line; "" where it gives none."""
    body: Any = None
    """The error as JSON, where it is."""


def failure_in(status: int, body: bytes) -> Failure | None:
    """The error in a response; None where it is a success, as far as anybody says."""
    data = _parsed(body)
    if status != 200:
        return Failure(status, words_of(data) if data is not None else _plain(body), data)
    error = _error_within(data)
    if error is None:
        return None
    return Failure(_stated(error, data) or status, words_of(error), error)


def words_in(body: bytes) -> str:
    """The words in something that is no completion."""
    data = _parsed(body)
    return _plain(body) if data is None else words_of(data)


def words_of(error: Any, depth: int = 4) -> str:
    """The words in an error, whatever shape it has; "" where there are none."""
    if isinstance(error, str):
        return _line(error)
    if depth == 0:
        return ""
    if isinstance(error, list):
        return _line("; ".join(filter(None, (words_of(each, depth - 1) for each in error[:3]))))
    if not isinstance(error, dict):
        return ""
    words = next(filter(None, (words_of(error.get(key), depth - 1) for key in _WORDS)), "")
    where = error.get("loc")  # what FastAPI's lists say it of
    if words and isinstance(where, list):
        words = f"{'.'.join(map(str, where[:6]))}: {words}"
    return _line(words)


def refused_parameter(sent: Mapping[str, Any], failure: Failure) -> str | None:
    """The parameter of the request that the server does not take, where that is what it says."""
    if failure.status not in {200, 400, 422}:
        return None
    text = f"{failure.words} {failure.body}".lower()
    if not _NOT_TAKEN.search(text):
        return None
    named = failure.body.get("param") if isinstance(failure.body, dict) else None
    inner = failure.body.get("error") if isinstance(failure.body, dict) else None
    if isinstance(inner, dict):
        named = inner.get("param", named)
    if named in sent and named in _PARAMETERS:
        return str(named)
    found = ((re.search(rf"\b{name}\b", text), name) for name in _PARAMETERS if name in sent)
    places = [(match.start(), name) for match, name in found if match]
    return min(places)[1] if places else None


def _error_within(data: Any) -> Any:
    """The error in what came with HTTP 200; None where there is none."""
    if not isinstance(data, dict):
        return None
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    places = [data]
    if isinstance(choice, dict):
        places.append(choice)
        if isinstance(choice.get("message"), dict):
            places.append(choice["message"])
    for place in places:
        for key in ("error", "errors"):
            if place.get(key):
                return place[key]
    if isinstance(choice, dict):
        return choice if choice.get("finish_reason") == "error" else None
    return data if words_of(data) else None


def _stated(*places: Any) -> int | None:
    """The status that an error states in its body: 429, "503"."""
    for place in places:
        for key in _STATUSES if isinstance(place, dict) else ():
            value = str(place.get(key))
            if re.fullmatch(r"[45]\d\d", value):
                return int(value)
    return None


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:
        return None


def _plain(body: bytes) -> str:
    """The words of a body that is not JSON: a text's beginning, a page's title."""
    try:
        text = body[:20_000].decode("utf-8", "strict" if len(body) <= 20_000 else "ignore").strip()
    except UnicodeDecodeError:
        return ""
    if text.startswith("<"):
        title = re.search(r"<title[^<>]*>([^<]*)<", text, re.IGNORECASE)
        return _line(html.unescape(title[1])) if title else ""
    return "" if text[:1] in {"{", "["} else _line(text)


def _line(text: str) -> str:
    """One line, and not a long one."""
    return " ".join(text[: 4 * _LONGEST].split())[:_LONGEST]
