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
    """A function that puts a space into whatever is spelled like a control token."""
    tokenizer = processor.tokenizer
    tokens = {str(token) for token in tokenizer.all_special_tokens}
    tokens.update(str(t) for t in tokenizer.get_added_vocab())
    tokens.update({"<image>", "<|image|>"})
    control = sorted((t for t in tokens if len(t) > 2 and not t.isspace()), key=len, reverse=True)

    def neutral(text: str) -> str:
        for token in control:
            if token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return _break_numbered_images(text)

    return neutral


def _break_numbered_images(text: str) -> str:
    return text.replace("<|image_", "< |image_")
