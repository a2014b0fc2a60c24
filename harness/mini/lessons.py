"""What the minis are taught beside the text curriculum: drawn pictures, and what is said of them.

All scenes are of the train split; the first seed's questions are the tasks' own train split, the
second's are others. Prompts are the tasks' own, worded by them for each style.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from harness.core import structured
from harness.core.structured import Rationale
from harness.core.types import Prompt, Sample, Style, Task
from harness.mini.training import Lesson
from harness.synthetic.questions import Item

DESCRIBE = ("Describe the picture.", "What does the picture show?", "What can be seen here?")
"""Ways of asking for a caption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Items to learn from, and the tasks that word them."""

    choice: Sequence[Item]
    open: Sequence[Item]
    choice_task: Task
    open_task: Task


def make(book: Book, kind: str, chance: Random) -> Iterator[Lesson]:
    """All lessons of a kind, a key of KINDS. Each picture is drawn when its lesson is reached."""
    for item in book.open if kind.startswith("open") else book.choice:
        if _fits(item, kind):
            yield KINDS[kind](book, item, chance)


def _fits(item: Item, kind: str) -> bool:
    return item.steps == 1 or not kind.startswith("one-step")


def _caption(book: Book, item: Item, chance: Random) -> Lesson:
    del book
    asked = chance.choice(DESCRIBE)
    prompt = Prompt(text=asked, question=asked, images=(item.draw(),), style="plain")
    return Lesson(prompt, item.caption, repr(item.scene))


def _asked_caption(book: Book, item: Item, chance: Random) -> Lesson:
    """What is seen that a question is about; no answer, and no way to it."""
    del book
    text = f"{item.question} {chance.choice(DESCRIBE)}"
    prompt = Prompt(text=text, question=text, images=(item.draw(),), style="plain")
    return Lesson(prompt, item.caption, repr(item.scene))


def _letter(book: Book, item: Item, chance: Random) -> Lesson:
    del chance
    return Lesson(asked(book.choice_task, item, "direct"), item.letter, repr(item.scene))


def _text(book: Book, item: Item, chance: Random) -> Lesson:
    del chance
    assert isinstance(item.answer, int)
    return Lesson(
        asked(book.choice_task, item, "plain"), item.choices[item.answer], repr(item.scene)
    )


def _structured(book: Book, item: Item, chance: Random) -> Lesson:
    del chance
    said = Rationale(item.summary, item.caption, item.reasoning, item.letter)
    return Lesson(
        asked(book.choice_task, item, "structured"), structured.render(said), repr(item.scene)
    )


def _reasoning(book: Book, item: Item, chance: Random) -> Lesson:
    """What follows from a caption that is given."""
    whole = _structured(book, item, chance)
    place = whole.answer.index("<REASONING>")
    return replace(whole, given=whole.answer[:place], answer=whole.answer[place:])


def _open(book: Book, item: Item, chance: Random) -> Lesson:
    del chance
    return Lesson(asked(book.open_task, item, "direct"), str(item.answer), repr(item.scene))


def _open_structured(book: Book, item: Item, chance: Random) -> Lesson:
    del chance
    said = Rationale(item.summary, item.caption, item.reasoning, str(item.answer))
    return Lesson(
        asked(book.open_task, item, "structured"), structured.render(said), repr(item.scene)
    )


KINDS: Mapping[str, Callable[[Book, Item, Random], Lesson]] = MappingProxyType(
    {
        "caption": _caption,
        "asked caption": _asked_caption,
        "letter": _letter,
        "one-step letter": _letter,
        "text": _text,
        "one-step text": _text,
        "structured": _structured,
        "reasoning": _reasoning,
        "open": _open,
        "open structured": _open_structured,
    }
)


def asked(task: Task, item: Item, style: Style, *, picture: bool = True) -> Prompt:
    """The question as it is asked in evaluation, with the picture just as it was drawn."""
    sample = Sample(
        id=item.id,
        question=item.question,
        target=item.answer,
        choices=item.choices,
        topic=item.topic,
        context=item.hint,
    )
    return replace(task.prompt(sample, style), images=(item.draw(),) if picture else ())
