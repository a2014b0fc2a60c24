"""From what the command line gives to the values of fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.objectives import find_objective
from harness.core.options import key_values


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def objective_name(name: str) -> str:
    """The name of an objective; raises HarnessError where there is none."""
    return find_objective(name).name


def objective_settings(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE of an objective's settings."""
    return key_values(given, option="--objective-set", example="NAME=VALUE, such as temperature=4")
