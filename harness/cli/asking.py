"""Put one question to a model, and lay out its answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from harness.cli.picture_tokens import PictureInput, picture_input
from harness.core import images, structured
from harness.core.errors import NOT_FINITE, DataError, Exit, HarnessError, SampleError, reason
from harness.core.finish import is_cut, is_finished
from harness.core.image_marks import without_marks
from harness.core.options import GenerationOptions
from harness.core.types import (
    REFUSAL,
    Decoding,
    Extraction,
    Model,
    Output,
    Prompt,
    Sample,
)
from harness.data.folder import read_image
from harness.run.shuffling import extract_answer
from harness.sources.source import Source
from tasks import load_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, as it comes from the shell."""

    text: str
    images: tuple[Path, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question."""

    output: Output
    reading: Extraction
    seconds: float
    pictures: PictureInput | None = None
    """What the model got of the pictures; None: there are none, or nobody says."""


def put_question(source: Source, question: Question, generation: GenerationOptions) -> Answer:
    """Put one question; raises DataError where a picture cannot be used."""
    spec = source.checkpoint.spec
    task = load_task("scienceqa" if question.choices else "vqaonline")
    style = generation.style or source.checkpoint.style
    asked = without_marks(question.text)
    sample = Sample(id="question", question=asked, target=0, choices=question.choices)
    prompt = Prompt(
        text=without_marks(task.prompt(sample, style).text),
        question=asked,
        choices=question.choices,
        images=tuple(map(_picture, question.images)),
        style=style,
    )
    model: Model = source.load()
    decoding = Decoding(
        max_new_tokens=generation.max_new_tokens
        or (spec.max_new_tokens if spec else task.max_new_tokens),
        temperature=generation.temperature,
        top_p=generation.top_p,
        stop=structured.END if style == "structured" else "",
    )
    started = time.perf_counter()
    prepared, (output,) = _generate(source, [prompt], decoding)
    seconds = time.perf_counter() - started
    first = prepared[0] if isinstance(prepared, list) else None
    finished = is_finished(output.finish)
    reading = extract_answer(task.extract, output.raw, sample.choices, finished=finished)
    return Answer(
        output,
        Extraction(None, REFUSAL) if output.finish == REFUSAL else reading,
        seconds,
        picture_input(model, prompt, first),
    )


def outputs(source: Source, prompts: Sequence[Prompt], decoding: Decoding) -> list[Output]:
    """Generate the outputs for the prompts; raises HarnessError where the model fails."""
    return _generate(source, prompts, decoding)[1]


def _generate(
    source: Source, prompts: Sequence[Prompt], decoding: Decoding
) -> tuple[Any, list[Output]]:
    """What the model made of the prompts, and its outputs."""
    model: Model = source.load()
    try:
        prepared = model.prepare(prompts)
        made = model.generate(prepared, decoding)
    except HarnessError:
        raise
    except Exception as error:  # whatever a broken model does is no fault of the harness
        raise _failed(source, reason(error)) from error
    if failed := [output.error for output in made if output.error]:
        raise _failed(source, failed[0])
    return prepared, made


def _failed(source: Source, why: str) -> HarnessError:
    wider = "A wider --dtype, such as float32, may help; else the weights are broken."
    return HarnessError(
        f"{source.checkpoint.name} does not answer.",
        known=" ".join(why.split())[:500],
        remedy=wider if why == NOT_FINITE else "",
        code=Exit.CHECK_FAILED if source.capabilities.in_process else Exit.MISSING,
    )


def _picture(path: Path) -> Any:
    try:
        return images.decode(read_image(path, label=str(path)), label=str(path))
    except SampleError as error:
        raise DataError(str(error)) from error


def lay_out(answer: Answer, choices: Sequence[str]) -> str:
    """Format the answer as in the paper's Figure 1: stage by stage where it has stages."""
    parsed = structured.parse(answer.output.raw)
    stages = {
        "Summary": parsed.summary,
        "Caption": parsed.caption,
        "Reasoning": parsed.reasoning,
        "Conclusion": parsed.conclusion,
    }
    if any(stages.values()):
        lines = [f"{name}\n  {text}\n" for name, text in stages.items() if text]
    else:
        lines = [f"{answer.output.raw.strip()}\n"]
    found = answer.reading.answer
    if isinstance(found, int):
        letter = ascii_uppercase[found]
        lines.append(f"Answer: {letter}, {choices[found]} (rule: {answer.reading.rule})")
    elif choices:
        lines.append(f"Answer: unparsed ({answer.reading.rule})")
    made, seconds = answer.output.tokens, answer.seconds
    rate = "" if made is None else f", {made} tokens, {made / seconds:.0f} tokens/s"
    cut = ", cut at the token limit" if is_cut(answer.output.finish) else ""
    lines.append(f"{seconds:.1f} s{rate}{cut}")
    if answer.pictures is not None and (seen := str(answer.pictures)):
        lines.append(f"The model saw {seen}.")
    return "\n".join(lines)
