"""The prompt format of each model family: one function per family.

A prompt format turns a Prompt into the text that the model's tokenizer gets. The question, its
context and its options come from data: whatever in them is spelled like a control token of the
model (an image placeholder, an end of turn) is broken up, so that data cannot speak for the
harness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from harness.checkpoints.chat_templates import ChatTemplate
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.control_tokens import breaker
from harness.core.errors import Exit, HarnessError, SampleError
from harness.core.prompts import user_text
from harness.core.time_limit import MAX_SECONDS, Limited
from harness.core.types import Prompt
from harness.models import templates

Turn = Callable[[int, str], str]
"""(number of images, the user's text) -> the prompt."""

_QUESTION = "What is it?"
_BROKEN = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    MemoryError,
    SampleError,
)
"""What a template that cannot be used makes Jinja raise."""


class PromptFormat:
    """From a Prompt to the text that the tokenizer gets."""

    def __init__(
        self, processor: Any, checkpoint: Checkpoint, turn: Turn, *, rule: str | None = None
    ) -> None:
        self._escape = control_token_escaper(processor)
        self._plain = checkpoint.spec.plain_styles if checkpoint.spec else ()
        self._turn = turn
        self.rule = rule
        """How the template was chosen or changed; None: it is the folder's own or the catalogue's,
        as it is."""

    def __call__(self, prompt: Prompt) -> str:
        return self._turn(len(prompt.images), self._escape(user_text(prompt, self._plain)))

    def samples(self) -> tuple[str, str]:
        """A question without an image, and one with, as the model gets them."""
        return self._turn(0, _QUESTION), self._turn(1, _QUESTION)


def chat(processor: Any, checkpoint: Checkpoint, given: ChatTemplate | None = None) -> PromptFormat:
    """By the user's chat template, else the folder's, else the one that is known for its family.

    Raises:
        HarnessError: there is none (exit 3), or it cannot be used (the user's: exit 2).
    """
    template, rule = _template(processor, checkpoint, given)
    error: Exception | None = None
    for undated in templates.undated(template):
        turn = _jinja_turn(processor, undated)
        try:
            _check_turn(turn, processor if given else None)
        except _BROKEN as broken:  # the template's fault, not that of a sample
            error = broken
            continue
        dated = "constant date" if undated != template else None
        rules = ", ".join(filter(None, [rule, dated]))
        return PromptFormat(processor, checkpoint, turn, rule=rules or None)
    where = f"--chat-template {given.path}" if given else str(checkpoint.folder)
    raise HarnessError(
        f"The chat template of {where} cannot be used.",
        known=f"{type(error).__name__}: {error}"[:500],
        remedy="See the templates of transformers: messages have a role and a content, which is a "
        "list of parts with a type, image or text."
        if given
        else "--chat-template FILE, with the template that the model was trained with.",
        code=Exit.USAGE if given else Exit.MISSING,
    ) from error


def _template(
    processor: Any, checkpoint: Checkpoint, given: ChatTemplate | None
) -> tuple[str, str | None]:
    """The template, and which rule chose it where it is not the folder's or the row's own."""
    if given:
        return given.text, None
    own = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    if isinstance(own, dict):  # several, by name
        own = own.get("default")
    if own is not None:
        return own, None
    known, kind = checkpoint.spec.chat_template if checkpoint.spec else None, None
    if checkpoint.model_type == "llava_next":
        text = checkpoint.config.get("text_config") or {}
        language = templates.language_of(text, processor.tokenizer.get_vocab())
        if language != "mistral":
            known, kind = templates.LLAVA_NEXT.get(language or ""), language
    if known is None:
        of = checkpoint.config.get("text_config") or {}
        inner = f" with the language model {of['model_type']}" if of.get("model_type") else ""
        raise HarnessError(
            f"{checkpoint.folder} has no chat template, and none is known for "
            f"{checkpoint.model_type}{inner}.",
            remedy="--chat-template FILE, with the Jinja template that the model was trained with.",
            code=Exit.MISSING,
        )
    return known, kind


def _check_turn(turn: Turn, processor: Any | None) -> None:
    """Raise one of _BROKEN if a template leaves out the question, with or without an image.

    Args:
        processor: finds the image token in the text; None: it need not be there.
    """
    bare, pictured = turn(0, _QUESTION), turn(1, _QUESTION)
    if any("'type'" in text for text in (bare, pictured)):
        raise ValueError("it takes a message's content for text; it is a list of parts")
    if not (_QUESTION in bare and _QUESTION in pictured):
        raise ValueError("it leaves out the question")
    if processor is None:
        return
    picture = Image.new("RGB", (64, 64))
    ids = processor(images=[[picture]], text=[pictured], return_tensors="pt")["input_ids"]
    token = getattr(processor, "image_token_id", None)  # None: it needs no place in the text
    if token is not None and not (ids == token).any():
        raise ValueError("it leaves out the picture")


def _jinja_turn(processor: Any, template: str) -> Turn:
    """A turn by Jinja, in transformers' sandbox, which sets no time limit: that is done here."""
    apply = Limited(
        processor.apply_chat_template, MAX_SECONDS, what="the chat template", where="The checkpoint"
    )

    def turn(images: int, text: str) -> str:
        content = [{"type": "image"} for _ in range(images)]
        content.append({"type": "text", "text": text})
        turns = [{"role": "user", "content": content}]
        made: str = apply(turns, chat_template=template, add_generation_prompt=True, tokenize=False)
        return made

    return turn


def moondream(processor: Any, checkpoint: Checkpoint) -> PromptFormat:
    """`<image>`, then Question and Answer, as in the model's own code and in the paper's."""

    def turn(images: int, text: str) -> str:
        pictures = "<image>\n\n" * images
        return f"{pictures}Question: {text}\n\nAnswer:"

    return PromptFormat(processor, checkpoint, turn)


def phi3v(processor: Any, checkpoint: Checkpoint) -> PromptFormat:
    """Numbered image placeholders, each on its line, inside one user turn."""

    def turn(images: int, text: str) -> str:
        numbered = "".join(f"<|image_{number}|>\n" for number in range(1, images + 1))
        return f"<|user|>\n{numbered}{text}<|end|>\n<|assistant|>\n"

    return PromptFormat(processor, checkpoint, turn)


def kosmos2(processor: Any, checkpoint: Checkpoint) -> PromptFormat:
    """Question and Answer; the processor prepends the image tokens, and `<grounding>` is left out:
    boxes are not asked for."""

    def turn(images: int, text: str) -> str:
        if images > 1:
            raise SampleError(f"KOSMOS-2 takes one picture; there are {images}")
        return f"Question: {text} Answer:"

    return PromptFormat(processor, checkpoint, turn)


FORMATS: Mapping[str, Callable[[Any, Checkpoint], PromptFormat]] = MappingProxyType(
    {"chat": chat, "moondream": moondream, "phi3v": phi3v, "kosmos2": kosmos2}
)


def prompt_format_for(
    processor: Any, checkpoint: Checkpoint, given: ChatTemplate | None
) -> PromptFormat:
    """The prompt format of a checkpoint: its family's, or the user's chat template."""
    if given:
        return chat(processor, checkpoint, given)
    return FORMATS[checkpoint.family](processor, checkpoint)


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
