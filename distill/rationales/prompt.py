"""What the teacher is asked: the one place with its wording.

Section 3.1 gives the teacher the question, the image and the answer; section 4.1 adds lecture and
solution. The script that asked it is not published, so the wording is ours; every
rationale is kept with its `PROMPT_VERSION`. This is the only prompt that holds an answer: it is for
the teacher, and no model that is evaluated ever gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from distill.config import INPUTS, TeacherInput
from distill.examples import gold
from harness.core.types import Prompt, Sample, Style, Task, gold_text

PROMPT_VERSION = "1"
"""Changes with every change of the wording."""

_ANSWER = "The correct answer is {answer}."
_GUIDE = "Reason from the question and the image to this answer, as if it had not been given."
_HINT = (
    "Hint: the correct answer is {answer}. Write a summary, a caption, a reasoning that leads to "
    "this answer, and a conclusion that states it, each between its tags."
)


def teacher_task(task: Task, inputs: Sequence[TeacherInput], *, hinted: bool = False) -> Task:
    """`task` as it is put to a teacher; `hinted`, as it is after a rejected attempt."""
    ask = partial(_prompt, task=task, inputs=tuple(inputs), hinted=hinted)
    return replace(task, prompt=ask)


def _prompt(
    sample: Sample, style: Style, *, task: Task, inputs: Sequence[TeacherInput], hinted: bool
) -> Prompt:
    asked = task.prompt(sample, style)
    return replace(asked, text=wording(asked.text, sample, inputs, hinted=hinted))


def wording(
    question: str, sample: Sample, inputs: Sequence[TeacherInput], *, hinted: bool = False
) -> str:
    """The text of the teacher's turn; `question` is how the task words it, options included.

    A lecture or a solution that the sample does not have leaves no trace.
    """
    answer = gold_in_words(sample)
    parts = {
        "question": question,
        "answer": _ANSWER.format(answer=answer),
        "lecture": sample.lecture and f"Lecture: {sample.lecture}",
        "solution": sample.solution and f"Solution: {sample.solution}",
    }
    lines = [parts[name] for name in INPUTS if name in inputs and parts[name]]
    if "answer" in inputs:
        lines.append(_GUIDE)
    if hinted:
        lines.append(_HINT.format(answer=answer))
    return "\n".join(lines)


def gold_in_words(sample: Sample) -> str:
    """The right answer with its letter: "B: Illinois"."""
    if isinstance(sample.target, int):
        return f"{gold(sample)}: {sample.choices[sample.target]}".removesuffix(".")
    return gold_text(sample.target).removesuffix(".")
