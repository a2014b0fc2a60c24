"""Why a text ended, in the words of servers and libraries."""

from __future__ import annotations

from harness.core.types import LENGTH, STOP

_ENDED = frozenset(
    {STOP, "eos", "eos_token", "end", "end_turn", "end_of_turn", "stop_sequence", "stop_token"}
    | {"complete", "completed", "finished"}
)
_CUT = frozenset(
    {LENGTH, "max_length", "model_length", "max_tokens", "max_new_tokens", "max_output_tokens"}
    | {"max_completion_tokens", "token_limit", "context_length", "truncated", "incomplete"}
)
_BROKEN_OFF = frozenset({"content_filter", "safety", "recitation", "abort", "cancelled", "error"})
"""The `finish` values of the servers and libraries that there are, in lower case."""


def is_cut(finish: str) -> bool:
    """Whether a token limit ended the text."""
    return _normalized(finish) in _CUT


def is_finished(finish: str) -> bool | None:
    """Whether the model itself ended the text; None where `finish` does not say."""
    reason = _normalized(finish)
    if reason in _CUT or reason in _BROKEN_OFF:
        return False
    return True if reason in _ENDED else None


def _normalized(finish: str) -> str:
    return finish.strip().lower().replace("-", "_")
