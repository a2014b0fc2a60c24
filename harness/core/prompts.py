"""Instructions that are added to a question: for a letter, tagged steps, or a chain of thought.

The paper published Moondream's prompt only: the bare question with its options. These wordings are
ours; a record holds the one that was sent. A model that was trained on bare questions in a style
(see `ModelSpec.plain_styles`) gets none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from types import MappingProxyType

from harness.core.image_marks import in_words, placed
from harness.core.types import Prompt, Sample, Style, Task, gold_text

_STRUCTURED = (
    "Work in four steps and write each one between its tags: <SUMMARY> what the question asks "
    "</SUMMARY> <CAPTION> what the image shows that matters for it </CAPTION> <REASONING> how the "
    "answer follows </REASONING> <CONCLUSION> {answer} </CONCLUSION>"
)
INSTRUCTIONS = MappingProxyType(
    {
        ("plain", "choices"): "",
        ("plain", "open"): "",
        ("direct", "choices"): "Answer with the letter of the correct option only.",
        ("direct", "open"): "",
        ("structured", "choices"): _STRUCTURED.format(answer="the letter of the correct option"),
        ("structured", "open"): _STRUCTURED.format(answer="the answer"),
        ("cot", "choices"): 'Think step by step, then end with "The answer is" and the letter of '
        "the correct option.",
        ("cot", "open"): 'Think step by step, then end with "The answer is" and your answer.',
    }
)


def instruction(style: Style, *, choices: bool, plain_styles: tuple[Style, ...] = ()) -> str:
    """The instruction below a question; empty if there is none."""
    if style in plain_styles:
        return ""
    return INSTRUCTIONS[style, "choices" if choices else "open"]


def added_instruction(prompt: Prompt, plain_styles: tuple[Style, ...] = ()) -> str:
    """The instruction below the text of a prompt: the task's own, or else the style's."""
    if prompt.instruction is not None and prompt.style not in plain_styles:
        return prompt.instruction
    return instruction(prompt.style, choices=bool(prompt.choices), plain_styles=plain_styles)


def user_text(prompt: Prompt, plain_styles: tuple[Style, ...] = ()) -> str:
    """The user's turn: the task's text, and the instruction below it."""
    added = added_instruction(prompt, plain_styles)
    asked = f"{prompt.text}\n{added}" if added else prompt.text
    return "\n\n".join([*prompt.examples, asked])


def shots(samples: Sequence[Sample], task: Task) -> tuple[str, ...]:
    """Answered questions to show first (few-shot), as text: most of these models take one picture,
    so the examples come without theirs."""
    return tuple(f"{_asked(task.prompt(s, 'direct'))}\nAnswer: {_answer(s)}" for s in samples)


def _asked(prompt: Prompt) -> str:
    return in_words(prompt.text, len(prompt.images))


def _answer(sample: Sample) -> str:
    target = sample.target
    return ascii_uppercase[target] if isinstance(target, int) else gold_text(target)


SHORT = "Answer the question using a single word or phrase."
"""LLaVA-1.5's wording (Liu et al., 2024, table 7), which most published scores of short answers are
measured with."""
LETTER = "Answer with the option's letter from the given choices directly."
"""LLaVA-1.5's wording for options, in the same table."""


def short_answer(sample: Sample, style: Style, *, wording: str = SHORT) -> Prompt:
    """The question and, in the style `direct`, how short an answer is wanted.

    Raises:
        SampleError: a picture cannot be decoded.
    """
    return Prompt(
        text=f"{sample.question}\n{wording}" if wording and style == "direct" else sample.question,
        question=sample.question,
        images=tuple(image.decode() for image in sample.images),
        style=style,
    )


def bracketed(sample: Sample) -> list[str]:
    """A line for each option: "(A) x"."""
    letters = zip(ascii_uppercase, sample.choices, strict=False)
    return [f"({letter}) {choice}" for letter, choice in letters]


def lettered(sample: Sample, style: Style) -> Prompt:
    """The context where there is one, the question, and a line for each option: "A. x"; and, in the
    style `direct`, that a letter is wanted.

    Raises:
        SampleError: a picture cannot be decoded.
    """
    options = [f"{letter}. {c}" for letter, c in zip(ascii_uppercase, sample.choices, strict=False)]
    return Prompt(
        text="\n".join([*filter(None, [sample.context]), sample.question, *options]),
        question=sample.question,
        choices=sample.choices,
        images=tuple(image.decode() for image in sample.images),
        style=style,
        instruction=LETTER if style == "direct" else None,
    )


def interleaved(sample: Sample, style: Style) -> Prompt:
    """The question and its options, "(A) x", with pictures where the text names them; those that it
    does not name come first. In the style `direct` a letter is asked for, or a short answer.

    Raises:
        SampleError: a picture cannot be decoded, or one that is named is not there.
    """
    text, images = placed("\n".join([sample.question, *bracketed(sample)]), sample.images)
    return Prompt(
        text=text,
        question=sample.question,
        choices=sample.choices,
        images=tuple(image.decode() for image in images),
        instruction=(LETTER if sample.choices else SHORT) if style == "direct" else None,
        style=style,
    )
