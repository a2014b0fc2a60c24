"""Settings that differ from those of what is on disk: one comparison, one message."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.errors import HarnessError

LATER = ("weights", "template", "wording", "task_file")
"""Fields that are known when a model's files are hashed and it is loaded, and fields that earlier
versions did not have: what lacks them is resumed, and has them from then on."""
FRESH = "--fresh"
EXTRACTION = "extraction"
"""The code that extracts answers: where it has changed, stored answers are extracted again."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each setting that differs -> its old value and its new one; nested ones as "decoding.seed".

    A field of `old` that `new` does not have (yet) is no difference, nor is one of `LATER` that
    `old` does not have.
    """
    new = {key: value for key, value in new.items() if key != EXTRACTION}
    both = [key for key in new if key in old]
    then, now = (_leaves({key: side[key] for key in both}) for side in (old, new))
    found = {
        key: (then.get(key), now.get(key))
        for key in {**then, **now}
        if then.get(key) != now.get(key)
    }
    added = {
        key: (None, value)
        for key, value in new.items()
        if key not in old and key not in LATER and value is not None
    }
    return found | added


def stop_on_mismatch(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    what: str,
    made_by: Sequence[str] = (),
    command: Sequence[str] = (),
    error: type[HarnessError] = HarnessError,
) -> None:
    """Stop before results of different settings are mixed.

    Args:
        what: what is on disk, in words: "the run in runs/t/m/test".
        made_by: the command that made it, as its record has it.
        command: the command that is under way.
        error: the kind of error to raise, with its exit code.

    Raises:
        HarnessError: lists the settings that differ.
    """
    if found := differences(old, new):
        raise error(
            f"These settings differ from those of {what}: {', '.join(found)}.",
            known=listed(found),
            remedy=remedy(made_by, command),
        )


def listed(found: Mapping[str, tuple[Any, Any]]) -> str:
    """Differences in words: "seed: 0 there, 1 now"."""
    return "; ".join(
        f"{key}: {_short(then)} there, {_short(now)} now" for key, (then, now) in found.items()
    )


def remedy(made_by: Sequence[str], command: Sequence[str]) -> str:
    """How to resume what is there, or to restart.

    Args:
        made_by: the command that made it.
        command: the command that is under way.
    """
    earlier, current = ([part for part in each if part != FRESH] for each in (made_by, command))
    # A record can come from anywhere: only a command of this package is repeated. One that is the
    # current one would stop here again: data, weights or a file have changed.
    known = earlier[:1] == ["harness"] and earlier != current
    resume = f"To resume: {shlex.join(earlier)}" if known else "To resume: restore those settings."
    return (
        f"{resume}\nTo restart, which moves the old results aside: {with_fresh(command)}\n"
        "To keep both: choose another name or folder."
    )


def with_fresh(command: Sequence[str]) -> str:
    """The command that is under way, so that it restarts."""
    current = [part for part in command if part != FRESH]
    return shlex.join([*current, FRESH]) if current else f"add {FRESH}"


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
