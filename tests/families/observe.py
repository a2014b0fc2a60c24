"""What is found of a family: answers and scores of the harness, held against the loop's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import Decoding, Prompt
from harness.models.loading import LoadOptions, load
from tests.families.checkpoint import Family, build
from tests.families.loop import MAX_NEW_TOKENS, Loop, questions

OPTIONS = ("Alabama", "South Carolina", "the United States of America")
GREEDY = Decoding(max_new_tokens=MAX_NEW_TOKENS)
Question = tuple[str, Image.Image | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One family's row."""

    model_type: str
    decoder: str
    """harness: its engine; transformers: `generate`."""
    asked: int
    distinct: int
    """Different answers of the loop."""
    equal: dict[str, int]
    """Way of asking -> answers that equal the loop's."""
    batches: str
    """Which prompts share one, as the record says it."""
    letters: float
    """The largest difference of a score from that of a forward pass."""
    texts: float


def prompt(question: Question) -> Prompt:
    text, picture = question
    return Prompt(text=text, question=text, images=(picture,) if picture else ())


def answers(model, asked: Sequence[Question], batch: int) -> list[str]:
    prompts = [prompt(question) for question in asked]
    found: list[str] = []
    for start in range(0, len(prompts), batch):
        prepared = model.prepare(prompts[start : start + batch])
        found += [output.raw for output in model.generate(prepared, GREEDY)]
    return found


def largest_difference(model, loop: Loop, asked: Sequence[Question], options) -> float:
    """Of all scores of the options after these questions, in batches of 4."""
    worst = 0.0
    for start in range(0, len(asked), 4):
        part = asked[start : start + 4]
        prepared = model.prepare([prompt(question) for question in part])
        for question, output in zip(
            part, model.choose(prepared, [options] * len(part)), strict=True
        ):
            expected = [loop.score(*question, option) for option in options]
            if output.log_likelihoods is None:
                raise AssertionError(output.error)
            pairs = zip(output.log_likelihoods, expected, strict=True)
            worst = max(worst, *(abs(score - other) for score, other in pairs))
    return worst


def observe(family: Family, folder: Path) -> Outcome:
    """Build the checkpoint, and ask it in every way."""
    build(family, folder)
    loop = Loop(family, folder)
    asked = questions(family)
    expected = [loop.answer(*question) for question in asked]
    equal = {}
    decoder = ""
    for engine in ("harness", "transformers"):
        options = LoadOptions(device="cpu", dtype="float32", engine=engine)
        model = load(find_checkpoint(str(folder)), options)
        if engine == "transformers" and decoder == engine:
            break
        decoder = decoder or model.engine
        batches = model.description["batches"]
        for batch in (1, 4):
            found = answers(model, asked, batch)
            pairs = zip(found, expected, strict=True)
            equal[f"{model.engine}, batch {batch}"] = sum(a == b for a, b in pairs)
        if engine == "harness":
            letters = largest_difference(model, loop, asked[:8], ("A", "B"))
            texts = largest_difference(model, loop, asked[4:8] or asked, OPTIONS)
    return Outcome(
        loop.model.config.model_type,
        decoder,
        len(asked),
        len(set(expected)),
        equal,
        batches,
        letters,
        texts,
    )
