"""The control tokens of a model, and how text that is spelled like one is broken up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.core.control_tokens import breaker
from harness.core.errors import SampleError


def control_token_escaper(processor: Any) -> Callable[[str], str]:
    """A function that breaks up whatever is spelled like a control token of the model.

    It raises SampleError where the tokenizer sees such a token all the same.
    """
    tokenizer = processor.tokenizer
    tokens = _control_tokens(processor)
    broken = breaker(tokens)
    # What stands for a character that it does not know is no control token.
    numbers = {*map(tokenizer.convert_tokens_to_ids, tokens)} - {tokenizer.unk_token_id, None}

    def escape(text: str) -> str:
        text = broken(text)
        for _ in range(_TRIES):
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            if numbers.isdisjoint(ids):
                return text
            text = _apart(tokenizer, text, numbers)
        raise SampleError("its text holds a control token of the model that cannot be broken up")

    return escape


_TRIES = 3
"""A token that only the tokenizer's own normalization makes (of full-width characters, say) is
broken up where the tokenizer finds it; that may make another one."""


def _control_tokens(processor: Any) -> set[str]:
    """The tokens that the processor and its tokenizer do not take for text."""
    tokenizer = processor.tokenizer
    special = {str(token) for token in tokenizer.all_special_tokens}
    for token in tokenizer.added_tokens_decoder.values():
        # Words are added to some vocabularies; they are no control tokens.
        if token.special or not (token.content[:1].isalnum() and token.content[-1:].isalnum()):
            special.add(token.content)
    names = {name: value for name, value in vars(processor).items() if name.endswith("_token")}
    special.update(value for value in names.values() if isinstance(value, str))
    return {token for token in special if len(token) > 2 and not token.isspace()}


def _apart(tokenizer: Any, text: str, numbers: set[int]) -> str:
    """The text with a space after the first character of each of these tokens."""
    if not tokenizer.is_fast:
        return text  # it does not say where they stand
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    places = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    for start, end in [place for number, place in places if number in numbers][::-1]:
        found = text[start:end]
        first = start + len(found) - len(found.lstrip()) + 1
        text = f"{text[:first]} {text[first:]}"
    return text
