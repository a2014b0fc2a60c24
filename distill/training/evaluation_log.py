"""What is logged of an evaluation while a student trains: its scores and its loss, with pictures
and with grey ones, a few answers; and which evaluation is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.config import DistillConfig
from distill.quality.sight import FEWEST, Sight, sight_of
from harness.core.types import Prediction, Task
from harness.metrics.figures import described_by, figures
from harness.metrics.registry import CONTEXT

SHOWN = 3
"""Answers that are printed and stored at each evaluation."""
_MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A validation question with its picture, or with a grey one."""

    prediction: Prediction
    loss: float | None
    """The objective's, of this example; None: nothing is there that it would learn."""
    weight: float
    """Of its target tokens."""


Pair = tuple[Answered, Answered | None]
"""A question with its picture, and with a grey one; None: it has none."""


def best_of(lines: Sequence[dict[str, Any]], config: DistillConfig) -> dict[str, Any] | None:
    """The line of the best student, the earliest of equal ones."""

    def rank(line: Mapping[str, Any]) -> tuple[float, ...]:
        score, loss = line["score"], line["loss"]
        sign = 1 if line["higher_is_better"] else -1
        by_score = -math.inf if score is None else sign * score
        by_loss = -math.inf if loss is None else -loss
        return (by_score, by_loss) if config.best_by == "score" else (by_loss, by_score)

    return max(lines, key=rank, default=None)


def line_of(pairs: Sequence[Pair], task: Task) -> dict[str, Any]:
    """What is logged of an evaluation, but for its step and its cost."""
    own = [each for each, _ in pairs]
    blank = [each for _, each in pairs if each is not None]
    of_own = _scores(own, task)
    tokens = sum(each.prediction.tokens or 0 for each in own)
    seconds = math.fsum(each.prediction.seconds or 0.0 for each in own)
    sight = _sight(pairs, of_own["metric"])
    return {
        "questions": len(own),
        "failed": sum(each.prediction.error is not None for each in own),
        **of_own,
        "without_pictures": _scores(blank, task) if blank else None,
        "sight": sight.to_json() if sight else None,
        "tokens_per_second": tokens / seconds if seconds else None,
        "answers": [_shown(pair) for pair in pairs[:SHOWN]],
    }


def _scores(answered: Sequence[Answered], task: Task) -> dict[str, Any]:
    """The figures of all answers, and which of them decides."""
    metrics = [each for each in task.metrics if not getattr(each, "needs_model", False)]
    found = figures([each.prediction for each in answered], metrics).values
    overall = {name: value.value for name, value in found.items() if "/" not in name}
    decisive = next((name for name in overall if name not in CONTEXT), None)
    about = {metric.name: metric for metric in described_by(metrics)}
    known = [(each.loss, each.weight) for each in answered if each.loss is not None]
    weight = math.fsum(weight for _, weight in known)
    return {
        "metric": decisive,
        "title": about[decisive].title if decisive in about else decisive,
        "unit": about[decisive].unit if decisive in about else "",
        "higher_is_better": about[decisive].higher_is_better if decisive in about else True,
        "score": overall[decisive] if decisive else None,
        "scores": overall,
        "loss": math.fsum(loss * w for loss, w in known) / weight if weight else None,
    }


def _sight(pairs: Sequence[Pair], metric: str | None) -> Sight | None:
    """Whether the student looks at its pictures; None where nothing shows it."""

    def outcome(each: Answered) -> tuple[float, bool]:
        score = each.prediction.scores.get(metric or "")
        return each.loss or 0.0, isinstance(score, int | float) and score > 0.5

    found = [(outcome(own), outcome(other)) for own, other in pairs if other is not None]
    lost = any(own.loss is not None for own, _ in pairs)
    answered = len(found) >= FEWEST and any(own[1] or other[1] for own, other in found)
    if not found or not (lost or answered):
        return None
    return sight_of(found, unseen=True)


def _shown(pair: Pair) -> dict[str, Any]:
    """An answer as it is stored."""
    own, other = (each.prediction if each else None for each in pair)
    assert own is not None
    return {
        "id": own.sample_id,
        "question": own.question[:_MOST_CHARACTERS],
        "choices": list(own.choices),
        "gold": _gold(own),
        "answer": own.text[:_MOST_CHARACTERS],
        "raw": own.raw[:_MOST_CHARACTERS],
        "error": own.error,
        "without_picture": other.raw[:_MOST_CHARACTERS] if other else None,
    }


def _gold(prediction: Prediction) -> str:
    return "; ".join(prediction.references)[:_MOST_CHARACTERS]


def in_words(line: Mapping[str, Any]) -> list[str]:
    """The lines that a terminal shows of an evaluation."""
    parts = [f"{line['title']} {_figure(line)}" if line["metric"] else "no score"]
    if (without := line["without_pictures"]) is not None:
        parts.append(f"{_figure(without)} with grey pictures")
    if line["loss"] is not None:
        parts.append(f"loss {line['loss']:.3f}")
    best = "; the best so far" if line["best"] else ""
    asked = _counted(line["questions"], "validation question")
    first = f"Step {line['step']}, {asked}: {', '.join(parts)}"
    return [
        f"{first}{best}.",
        *(
            f"  {_short(each['question'])} — {_short(each['gold'])}: "
            f"{_short(each['error'] or each['raw'])}"
            for each in line["answers"]
        ),
    ]


def choice_in_words(record: Mapping[str, Any]) -> str:
    """Which of its states a student is, from distill.json; "": that of the last step, as nothing
    else was evaluated."""
    validation = record.get("validation")
    if validation is None:
        return ""
    best = validation["best"]
    by = "its loss" if validation["best_by"] == "loss" else best["title"] or "its loss"
    figures = [_figure(best)] if best["metric"] else []
    if best["loss"] is not None:
        figures.append(f"loss {best['loss']:.3f}")
    stopped = ""
    if validation["stopped_early"]:
        stopped = f" Training ended early, after step {validation['last']['step']}."
    return (
        f"The student is that of step {best['step']} of {record['steps']}, the best of "
        f"{_counted(validation['evaluations'], 'evaluation')} by {by} on "
        f"{_counted(validation['questions'], 'question')} {validation['source']} "
        f"({', '.join(figures)}).{stopped} No test question took part in the choice."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _figure(scores: Mapping[str, Any]) -> str:
    value = scores["score"]
    if value is None:
        return "not defined"
    return f"{100 * value:.1f}%" if scores["unit"] == "%" else f"{value:.3f}"


def _short(text: str, *, limit: int = 80) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else f"{words[: limit - 1]}…"
