"""Records that were written when fields had other names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FORMER: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "counts": {"unread": "unparsed"},
        "metrics": {"unread": "unparsed"},
        "fingerprint": {"reader": "extractor"},
        "settings": {"reader": "extractor"},
    }
)
"""Part of run.json -> former name -> name."""


def with_present_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """run.json's fields by their present names, in their order.

    Raises:
        TypeError: it is no JSON object.
    """
    if not isinstance(record, Mapping):
        raise TypeError("it is no JSON object")
    return {
        **record,
        **{part: _renamed(record[part], FORMER[part]) for part in FORMER if part in record},
    }


def _renamed(fields: Any, names: Mapping[str, str]) -> Any:
    """What is no object is left as it is, for the check of the record."""
    if not isinstance(fields, Mapping):
        return fields
    return {names.get(name, name): value for name, value in fields.items()}
