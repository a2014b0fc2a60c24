"""Training examples of the minis with images: synthetic questions and captions.

All scenes are of the train split; the first seed's questions are the tasks' own train split, the
second's are others. Prompts are the tasks' own, in each style.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from harness.core import structured
from harness.core.structured import Rationale
from harness.core.types import Prompt, Sample, Style, Task
from harness.mini.encoding import TrainingExample
from harness.synthetic.questions import Item

CAPTION_REQUESTS = (
    "Describe the picture.",
    "What does the picture show?",
    "What can be seen here?",
)
"""Prompts for a caption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingQuestions:
    """Items to learn from, and the tasks that make their prompts."""

    choice: Sequence[Item]
    open: Sequence[Item]
    choice_task: Task
    open_task: Task


def make_examples(
    questions: TrainingQuestions, kind: str, rng: Random
) -> Iterator[TrainingExample]:
    """All examples of a kind, a key of KINDS. Each picture is drawn when its example is reached."""
    for item in questions.open if kind.startswith("open") else questions.choice:
        if _is_of_kind(item, kind):
            yield KINDS[kind](questions, item, rng)


def _is_of_kind(item: Item, kind: str) -> bool:
    if kind.startswith("one-step"):
        return item.steps == 1
    return item.steps > 1 or not kind.startswith("several-step")


def _caption(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    del questions
    asked = rng.choice(CAPTION_REQUESTS)
    prompt = Prompt(text=asked, question=asked, images=(item.draw(),), style="plain")
    return TrainingExample(prompt, item.caption, repr(item.scene))


def _caption_for_question(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    """The caption that a question needs, without reasoning and without an answer."""
    del questions
    text = f"{item.question} {rng.choice(CAPTION_REQUESTS)}"
    prompt = Prompt(text=text, question=text, images=(item.draw(),), style="plain")
    return TrainingExample(prompt, item.caption, repr(item.scene))


def _letter(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    del rng
    return TrainingExample(
        task_prompt(questions.choice_task, item, "direct"), item.letter, repr(item.scene)
    )


def _text(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    del rng
    return TrainingExample(
        task_prompt(questions.choice_task, item, "plain"), _option(item), repr(item.scene)
    )


def _copied_option(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    """The right option, with the space before it: in the tokens that stand in the question."""
    return replace(_letter(questions, item, rng), answer=f" {_option(item)}")


def _any_option(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    """An option at random, which teaches nothing but that an answer is one of them."""
    return replace(_letter(questions, item, rng), answer=f" {rng.choice(item.choices)}")


def _structured(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    del rng
    rationale = Rationale(item.summary, item.caption, item.reasoning, item.letter)
    return TrainingExample(
        task_prompt(questions.choice_task, item, "structured"),
        structured.render(rationale),
        repr(item.scene),
    )


def _reasoning(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    """The reasoning and the conclusion, after a given caption."""
    whole = _structured(questions, item, rng)
    place = whole.answer.index("<REASONING>")
    return replace(whole, prefix=whole.answer[:place], answer=whole.answer[place:])


def _described_letter(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    """The caption that a question needs, what is asked about where one step is, the option and its
    letter; nothing between where several are."""
    del rng
    conclusion = f"The answer is {_option(item)}, {item.letter}."
    return TrainingExample(
        task_prompt(questions.choice_task, item, "plain"),
        f"{item.caption} {item.reasoning if item.steps == 1 else conclusion}",
        repr(item.scene),
    )


def _steps(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    """The caption, then the reasoning, which ends in the option and its letter."""
    del rng
    return TrainingExample(
        task_prompt(questions.choice_task, item, "plain"),
        f"Step 1: {item.caption}\nStep 2: {item.reasoning}",
        repr(item.scene),
    )


def _option(item: Item) -> str:
    assert isinstance(item.answer, int)
    return item.choices[item.answer]


def _open(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    del rng
    return TrainingExample(
        task_prompt(questions.open_task, item, "direct"), str(item.answer), repr(item.scene)
    )


def _open_structured(questions: TrainingQuestions, item: Item, rng: Random) -> TrainingExample:
    del rng
    rationale = Rationale(item.summary, item.caption, item.reasoning, str(item.answer))
    return TrainingExample(
        task_prompt(questions.open_task, item, "structured"),
        structured.render(rationale),
        repr(item.scene),
    )


KINDS: Mapping[str, Callable[[TrainingQuestions, Item, Random], TrainingExample]] = (
    MappingProxyType(
        {
            "caption": _caption,
            "asked caption": _caption_for_question,
            "letter": _letter,
            "one-step letter": _letter,
            "text": _text,
            "one-step option": _copied_option,
            "several-step guess": _any_option,
            "described letter": _described_letter,
            "steps": _steps,
            "structured": _structured,
            "reasoning": _reasoning,
            "open": _open,
            "open structured": _open_structured,
        }
    )
)


def task_prompt(task: Task, item: Item, style: Style, *, picture: bool = True) -> Prompt:
    """The prompt of a question as in evaluation, with its picture as it was drawn."""
    sample = Sample(
        id=item.id,
        question=item.question,
        target=item.answer,
        choices=item.choices,
        topic=item.topic,
        context=item.hint,
    )
    return replace(task.prompt(sample, style), images=(item.draw(),) if picture else ())
