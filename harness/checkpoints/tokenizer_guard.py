"""What a checkpoint's tokenizer may cost: it is a small program of its own.

Its pre-tokenizer and normalizer hold regular expressions, which run under a time limit. Decoders
run at every step of decoding, where a limit would cost too much: a regular expression in one is
refused; published ones have none. So are replacements that lengthen a text without bound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedTokenizerBase, ProcessorMixin

from harness.core.errors import Exit, HarnessError
from harness.core.time_limit import MAX_SECONDS, Limited

MAX_GROWTH = 100.0
"""Times that all replacements together may lengthen a text; a space that becomes three bytes is
one character."""


def guard(made: Any, where: str) -> None:
    """Set the limits of a tokenizer, or of a processor's; anything else is left as it is.

    Args:
        where: the checkpoint, for messages.

    Raises:
        HarnessError: its files ask for more than any tokenizer needs.
    """
    tokenizers = (
        [value for value in vars(made).values() if isinstance(value, PreTrainedTokenizerBase)]
        if isinstance(made, ProcessorMixin)
        else [made]
    )
    for tokenizer in tokenizers:
        if not isinstance(tokenizer, PreTrainedTokenizerBase) or "_encode_plus" in vars(tokenizer):
            continue
        if tokenizer.is_fast:
            backend: Any = tokenizer.backend_tokenizer
            _refuse_growth(_state(backend.normalizer), f"{where}: the tokenizer's normalizer")
            _refuse_growth(_state(backend.decoder), f"{where}: the tokenizer's decoder")
            _refuse_expressions(_state(backend.decoder), f"{where}: the tokenizer's decoder")
        # What every other method encodes with.
        tokenizer._encode_plus = Limited(  # type: ignore[method-assign]  # noqa: SLF001
            tokenizer._encode_plus,  # noqa: SLF001
            MAX_SECONDS,
            what="the tokenizer",
            where=where,
        )


def _state(part: Any) -> Any:
    """A normalizer or decoder as JSON, as tokenizer.json has it."""
    return None if part is None else json.loads(part.__getstate__())


def _replacements(state: Any) -> Iterator[tuple[str, str, str]]:
    """("Regex" or "String", pattern, what stands in its place), wherever they are nested."""
    if isinstance(state, dict):
        pattern = state.get("pattern")
        if isinstance(pattern, dict):
            for kind, text in pattern.items():
                yield kind, str(text), str(state.get("content", ""))
        for value in state.values():
            yield from _replacements(value)
    elif isinstance(state, list):
        for value in state:
            yield from _replacements(value)


def _refuse_growth(state: Any, what: str) -> None:
    growth = math.prod(
        max(1.0, len(content) / (max(1, len(pattern)) if kind == "String" else 1))
        for kind, pattern, content in _replacements(state)
    )
    if growth > MAX_GROWTH:
        raise HarnessError(
            f"{what} makes a text up to {growth:.3g} times as long.",
            known=f"{MAX_GROWTH:g} times is the most that is taken.",
            remedy="Download the checkpoint again, from a source that you trust.",
            code=Exit.MISSING,
        )


def _refuse_expressions(state: Any, what: str) -> None:
    for kind, pattern, _ in _replacements(state):
        if kind == "Regex":
            raise HarnessError(
                f"{what} holds a regular expression ({pattern[:80]}), which may never end.",
                remedy="Download the checkpoint again, from a source that you trust.",
                code=Exit.MISSING,
            )
