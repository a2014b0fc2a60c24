"""Which rationales are kept, and why the others are not.

The paper reports no filter and trains on all 2,000 rationales, so `none` is the default. Whatever
the teacher concluded, the conclusion of a kept rationale is the gold answer (section 3.2).
"""

from __future__ import annotations

from distill.examples import gold
from distill.options import Filter
from distill.quality.measures import arrives_at, is_complete
from harness.core import structured
from harness.core.structured import Parsed, Rationale
from harness.core.types import Sample, Task


def why_rejected(raw: str, sample: Sample, task: Task, *, keep: Filter) -> tuple[str, ...]:
    """The reasons against a raw text; empty where it is kept."""
    parsed = structured.parse(raw)
    if not any(_stages(parsed)):
        return ("empty",)
    if keep == "none":
        return ()
    reasons = _flaws(parsed)
    if keep == "coherent" and not reasons:
        arrived = arrives_at(parsed.reasoning or "", sample.choices).answer
        if arrived not in {None, sample.target}:
            return ("reasoning arrives at another option",)
    if keep == "agrees" and not reasons:
        reading = task.extract(raw, sample.choices)
        if reading.answer is None:
            return (f"conclusion cannot be read: {reading.rule}",)
        if reading.answer != sample.target:
            return ("concludes another option",)
    return reasons


def rationale(raw: str, sample: Sample) -> Rationale:
    """The rationale of a kept text, concluding with the gold answer.

    A stage that is missing is "". A text without any tag is a reasoning: with filter `none` that
    is what a teacher that knows no tags gives.
    """
    summary, caption, reasoning = _stages(structured.parse(raw))
    return Rationale(summary, caption, reasoning, gold(sample))


def _stages(parsed: Parsed) -> tuple[str, str, str]:
    """Summary, caption and reasoning. What stands outside the tags is the reasoning where there is
    no REASONING, else it is left out."""
    return (parsed.summary or "", parsed.caption or "", parsed.reasoning or parsed.outside)


def _flaws(parsed: Parsed) -> tuple[str, ...]:
    if is_complete(parsed):
        return ()
    reasons = [f"no {name}" for name in parsed.missing]
    reasons += [f"{name} twice" for name in parsed.repeated]
    if not parsed.in_order:
        reasons.append("not in order")
    return tuple(reasons)
