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


def prediction_with_present_names(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of predictions.jsonl by the present names of its fields: `scores` was the list of the
    options' log-likelihoods, and `correct` said whether the option was right.

    Raises:
        TypeError: it is no JSON object.
    """
    if not isinstance(line, Mapping):
        raise TypeError("it is no JSON object")
    fields = dict(line)
    if isinstance(fields.get("scores"), list):
        fields["log_likelihoods"] = fields.pop("scores")
    correct = fields.pop("correct", None)
    if correct is not None and "scores" not in fields:
        if not isinstance(correct, bool):
            raise TypeError(f"field 'correct' cannot be {ascii(correct)[:60]}")
        fields["scores"] = {"accuracy": float(correct)}
    return fields
