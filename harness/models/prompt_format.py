"""From a prompt to the text of its model family, by the family's documented prompt or by Jinja.

A prompt format turns a Prompt into the text that the model's tokenizer gets. The question, its
context and its options come from data: whatever in them is spelled like a control token of the
model (an image placeholder, an end of turn) is broken up, so that data cannot speak for the
harness.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from harness.checkpoints.chat_templates import ChatTemplate
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.errors import Exit, HarnessError, SampleError
from harness.core.image_marks import IMAGE_MARK, in_order, in_words, unmarked, with_placeholders
from harness.core.prompts import user_text
from harness.core.time_limit import MAX_SECONDS, Limited
from harness.core.types import Prompt
from harness.families import family_of, generic
from harness.families.control_tokens import control_token_escaper
from harness.families.family import ModelFamily, Turn
from harness.models import templates

_QUESTION = "What is it?"
_BEFORE, _AFTER = "What is", "and why?"
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
    """From a Prompt to the text that the tokenizer gets.

    Args:
        turn: takes a text with marks of pictures too, and says what stands in their places.
    """

    def __init__(
        self,
        processor: Any,
        checkpoint: Checkpoint,
        turn: Turn,
        *,
        template: str | None = None,
        origin: str = "",
        rule: str | None = None,
    ) -> None:
        self._escape = control_token_escaper(processor)
        self._plain = checkpoint.plain_styles
        self._turn = turn
        self._family = family_of(checkpoint.model_type)
        self.template = template
        """The Jinja source; None: the family has words of its own."""
        self.origin = origin or f"the documented prompt of {self._family.title}"
        """Whose template it is, in words."""
        self.rule = rule
        """How the template was chosen or changed; None: it is the folder's own or the catalogue's,
        as it is."""

    def __call__(self, prompt: Prompt) -> str:
        images, most = len(prompt.images), self._family.max_images
        if most is not None and images > most:
            one = "one picture" if most == 1 else f"at most {most} pictures"
            raise SampleError(f"{self._family.title} takes {one}; there are {images}")
        if self._family.needs_image and not images:
            raise SampleError(f"{self._family.title} needs a picture; there is none")
        return self._turn(images, self.message(prompt))

    def message(self, prompt: Prompt) -> str:
        """The text of the user's turn alone. It has marks of pictures where the turn takes pictures
        within a text; else they are called `<image 1>` and so on, and come first."""
        text = self._escape(user_text(prompt, self._plain))
        return text if self._takes_marks else in_words(text, len(prompt.images))

    @cached_property
    def _takes_marks(self) -> bool:
        """Whether a picture can stand between two pieces of text. Some templates put all pictures
        first, whatever their places."""
        if self._family.max_images == 1:
            return False
        made = self._turn(1, f"{_BEFORE}{IMAGE_MARK}{_AFTER}")
        between = re.search(f"{_BEFORE}(.*?){re.escape(_AFTER)}", made, re.DOTALL)
        return between is not None and between[1].strip() not in {"", IMAGE_MARK}

    def samples(self) -> tuple[str, str]:
        """A question without an image, and one with, as the model gets them."""
        return self._turn(0, _QUESTION), self._turn(1, _QUESTION)


def chat(processor: Any, checkpoint: Checkpoint, given: ChatTemplate | None = None) -> PromptFormat:
    """By the user's chat template, else the folder's, else the one that is known for its family.

    Raises:
        HarnessError: there is none (exit 3), or it cannot be used (the user's: exit 2).
    """
    template, rule, origin = _template(processor, checkpoint, given)
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
        return PromptFormat(
            processor, checkpoint, turn, template=undated, origin=origin, rule=rules or None
        )
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
) -> tuple[str, str | None, str]:
    """The template, which rule chose it where it is not the folder's or the family's only one, and
    whose it is."""
    if given:
        return given.text, None, f"--chat-template {given.path}"
    own = _own_template(processor)
    if own is not None:
        return own, None, "the checkpoint's own"
    family = family_of(checkpoint.model_type)
    find = family.template
    known = find(checkpoint.config, processor.tokenizer.get_vocab()) if find else None
    if known is None:
        of = checkpoint.config.get("text_config") or {}
        inner = f" with the language model {of['model_type']}" if of.get("model_type") else ""
        raise HarnessError(
            f"{checkpoint.folder} has no chat template, and none is known for "
            f"{checkpoint.model_type}{inner}.",
            remedy="--chat-template FILE, with the Jinja template that the model was trained with.",
            code=Exit.MISSING,
        )
    return *known, f"the one known for {family.title}"


def _own_template(processor: Any) -> str | None:
    """The checkpoint's chat template."""
    own = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    if isinstance(own, dict):  # several, by name
        own = own.get("default")
    return own


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
        parts = in_order(text, [{"type": "image"} for _ in range(images)])
        content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
        turns = [{"role": "user", "content": content}]
        made: str = apply(turns, chat_template=template, add_generation_prompt=True, tokenize=False)
        return made

    return turn


def prompt_format_for(
    processor: Any, checkpoint: Checkpoint, given: ChatTemplate | None
) -> PromptFormat:
    """The prompt format of a checkpoint: the user's chat template, or that of its family."""
    family = family_of(checkpoint.model_type)
    own = _own_template(processor)
    if given or (own and family.template_first):
        return chat(processor, checkpoint, given)
    if family.turn:
        return PromptFormat(processor, checkpoint, _documented_turn(family, family.turn))
    if family is generic.FAMILY and not own:
        return _plain(processor, checkpoint)
    return chat(processor, checkpoint)


def _documented_turn(family: ModelFamily, turn: Turn) -> Turn:
    """A family's turn that has its placeholders where a text has marks."""

    def marked(images: int, text: str) -> str:
        if IMAGE_MARK not in text or family.placeholder is None:
            return turn(images, text)
        all_marked = IMAGE_MARK * unmarked(text, images) + text
        return turn(0, with_placeholders(all_marked, images, family.placeholder))

    return marked


def _plain(processor: Any, checkpoint: Checkpoint) -> PromptFormat:
    """A token for each picture, and the question: for types that nothing is known of."""
    token = getattr(processor, "image_token", None) or ""
    return PromptFormat(
        processor,
        checkpoint,
        lambda images, text: (
            token * unmarked(text, images) + with_placeholders(text, images, lambda _: token)
        ),
        origin="none: the picture and the question",
        rule="plain",
    )
