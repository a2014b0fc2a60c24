"""Settings that differ from those of what is on disk already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

LATER = ("weights", "template", "wording", "task_file")
"""What is known of a model when its files are hashed and it is loaded; and what earlier versions
did not look at: their runs go on, and have it from then on."""
EXTRACTION = "extraction"
"""The code that extracts answers: where it has changed, stored answers are extracted again."""


def refuse_mismatch(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """Refuse to mix the results of two different settings; raises HarnessError that names them.

    Fields of `old` that `new` does not have (yet) are left alone, and so are those that come later
    than the others: `old` may have been written before.
    """
    new = {key: value for key, value in new.items() if key != EXTRACTION}
    both = [key for key in new if key in old]
    then, now = (_leaves({key: side[key] for key in both}) for side in (old, new))
    changed = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    changed += [key for key in new if key not in old and key not in LATER and new[key] is not None]
    if not changed:
        return
    said = "; ".join(
        f"{key}: {_short(then.get(key))} then, {_short(now.get(key, new.get(key)))} now"
        for key in changed
    )
    raise HarnessError(
        f"The run in {path} was made with another {', '.join(changed)}.",
        known=said,
        remedy="Add --fresh to move that run aside and begin anew, or choose another name or "
        "folder to keep both.",
    )


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings side by side: {"decoding": {"seed": 1}} -> {"decoding.seed": 1}."""
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:24]}…"
