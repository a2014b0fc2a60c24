"""Put one question to a model, and lay out its answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import images, structured
from harness.core.errors import NOT_FINITE, DataError, Exit, HarnessError, SampleError, reason
from harness.core.finish import is_cut, is_finished
from harness.core.options import GenerationOptions
from harness.core.types import (
    REFUSAL,
    Decoding,
    Extraction,
    Model,
    Output,
    Prompt,
    Sample,
    Style,
)
from harness.data.folder import read_image
from harness.run.shuffling import extract_answer
from harness.sources.source import Source
from tasks import load_task


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question."""

    output: Output
    reading: Extraction
    seconds: float


def put_question(
    weights: Source,
    *,
    question: str,
    image: Path | None = None,
    choices: Sequence[str] = (),
    generation: GenerationOptions,
) -> Answer:
    """Put one question; raises DataError where the picture cannot be used."""
    spec = weights.checkpoint.spec
    task = load_task("scienceqa" if choices else "vqaonline")
    own: Style = spec.style if spec and weights.checkpoint.named else "direct"
    style = generation.style or own
    sample = Sample(id="question", question=question, target=0, choices=tuple(choices))
    prompt = Prompt(
        text=task.prompt(sample, style).text,
        question=question,
        choices=sample.choices,
        images=(_picture(image),) if image else (),
        style=style,
    )
    weights.load()
    decoding = Decoding(
        max_new_tokens=generation.max_new_tokens
        or (spec.max_new_tokens if spec else task.max_new_tokens),
        stop=structured.END if style == "structured" else "",
    )
    started = time.perf_counter()
    (output,) = outputs(weights, [prompt], decoding)
    seconds = time.perf_counter() - started
    finished = is_finished(output.finish)
    reading = extract_answer(task.extract, output.raw, sample.choices, finished=finished)
    return Answer(
        output, Extraction(None, REFUSAL) if output.finish == REFUSAL else reading, seconds
    )


def outputs(source: Source, prompts: Sequence[Prompt], decoding: Decoding) -> list[Output]:
    """Generate the outputs for the prompts; raises HarnessError where the model fails."""
    model: Model = source.load()
    try:
        made = model.generate(model.prepare(prompts), decoding)
    except HarnessError:
        raise
    except Exception as error:  # whatever a broken model does is no fault of the harness
        raise _failed(source, reason(error)) from error
    if failed := [output.error for output in made if output.error]:
        raise _failed(source, failed[0])
    return made


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
        lines.append(f"Answer: {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[found]}, {choices[found]}")
    elif choices:
        lines.append(f"Answer: unparsed ({answer.reading.rule})")
    made, seconds = answer.output.tokens, answer.seconds
    rate = "" if made is None else f", {made} tokens, {made / seconds:.0f} tokens/s"
    cut = ", cut at the token limit" if is_cut(answer.output.finish) else ""
    lines.append(f"{seconds:.1f} s{rate}{cut}")
    return "\n".join(lines)
