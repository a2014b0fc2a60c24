"""How each kind of model wants a question worded: one function per adapter.

A renderer turns a Prompt into the text that the model's tokenizer gets. The question, its context
and its options come from data: whatever in them is spelled like a control token of the model (an
image placeholder, an end of turn) is broken up, so that data cannot speak for the harness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import TemplateError

from harness.checkpoints import Checkpoint
from harness.control import breaker
from harness.errors import Exit, HarnessError, SampleError
from harness.prompts import user_text
from harness.types import Prompt

Renderer = Callable[[Prompt], str]


def chat(processor: Any, checkpoint: Checkpoint) -> Renderer:
    """Through the folder's chat template, else the one of the catalogue's row."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    if template is None and checkpoint.spec:
        template = checkpoint.spec.chat_template
    if template is None:
        raise HarnessError(
            f"{checkpoint.folder} has no chat template, and the catalogue has none for "
            f"{checkpoint.model_type}.",
            remedy="Put the model's chat_template.jinja into the folder.",
            code=Exit.MISSING,
        )
    neutral = neutraliser(processor)
    plain = checkpoint.spec.plain_styles if checkpoint.spec else ()

    def turn(images: int, text: str) -> str:
        content = [{"type": "image"} for _ in range(images)]
        content.append({"type": "text", "text": text})
        turns = [{"role": "user", "content": content}]
        made: str = processor.apply_chat_template(
            turns, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        return made

    try:
        turn(1, "?")  # a template that fails is the folder's fault, not that of a sample
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise HarnessError(
            f"The chat template of {checkpoint.folder} cannot be used.",
            known=f"{type(error).__name__}: {error}"[:500],
            remedy="Put the template that the model was trained with into chat_template.jinja.",
            code=Exit.MISSING,
        ) from error

    def render(prompt: Prompt) -> str:
        return turn(len(prompt.images), neutral(user_text(prompt, plain)))

    return render


def moondream(processor: Any, checkpoint: Checkpoint) -> Renderer:
    """`<image>`, then Question and Answer, as in the model's own code and in the paper's."""
    neutral = neutraliser(processor)
    plain = checkpoint.spec.plain_styles if checkpoint.spec else ()

    def render(prompt: Prompt) -> str:
        images = "<image>\n\n" * len(prompt.images)
        return f"{images}Question: {neutral(user_text(prompt, plain))}\n\nAnswer:"

    return render


def phi3v(processor: Any, checkpoint: Checkpoint) -> Renderer:
    """Numbered image placeholders, each on its line, inside one user turn."""
    neutral = neutraliser(processor)
    plain = checkpoint.spec.plain_styles if checkpoint.spec else ()

    def render(prompt: Prompt) -> str:
        images = "".join(f"<|image_{number}|>\n" for number in range(1, len(prompt.images) + 1))
        return f"<|user|>\n{images}{neutral(user_text(prompt, plain))}<|end|>\n<|assistant|>\n"

    return render


def kosmos2(processor: Any, checkpoint: Checkpoint) -> Renderer:
    """Question and Answer; the processor puts the picture's tokens in front, and `<grounding>` is
    left out: boxes are not asked for."""
    neutral = neutraliser(processor)
    plain = checkpoint.spec.plain_styles if checkpoint.spec else ()

    def render(prompt: Prompt) -> str:
        if len(prompt.images) > 1:
            raise SampleError(f"KOSMOS-2 takes one picture; there are {len(prompt.images)}")
        return f"Question: {neutral(user_text(prompt, plain))} Answer:"

    return render


RENDERERS: Mapping[str, Callable[[Any, Checkpoint], Renderer]] = MappingProxyType(
    {"chat": chat, "moondream": moondream, "phi3v": phi3v, "kosmos2": kosmos2}
)


def neutraliser(processor: Any) -> Callable[[str], str]:
    """A function that makes plain text of whatever is spelled like a control token.

    It raises SampleError where the tokenizer sees such a token all the same.
    """
    tokenizer = processor.tokenizer
    tokens = _control_tokens(processor)
    broken = breaker(tokens)
    # What stands for a character that it does not know is no control token.
    numbers = {*map(tokenizer.convert_tokens_to_ids, tokens)} - {tokenizer.unk_token_id, None}

    def neutral(text: str) -> str:
        text = broken(text)
        for _ in range(_TRIES):
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            if numbers.isdisjoint(ids):
                return text
            text = _apart(tokenizer, text, numbers)
        raise SampleError("its text holds a control token of the model that cannot be broken up")

    return neutral


_TRIES = 3
"""A token that only the tokenizer's own normalization makes (of full-width characters, say) is
broken up where the tokenizer finds it; that may make another one."""


def _control_tokens(processor: Any) -> set[str]:
    """What the processor and its tokenizer take for more than text."""
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
