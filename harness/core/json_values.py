"""JSON values: parse what JSON allows and no more, replace what JSON does not have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The JSON value in `text`; raises ValueError, also for what is JSON for Python alone."""
    if isinstance(text, bytes):
        encoding = "utf-8" if text.startswith(b'{"') else json.detect_encoding(text)
        text = text.decode(encoding, "surrogatepass")
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Made once: `json.loads` makes one for each text."""


def json_object(value: Any) -> dict[str, Any]:
    """`value` if it is a JSON object; raises TypeError."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as null, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
