"""The verdicts of judges on a run's answers: their file, and the metrics that they make.

    RUNS/TASK/MODEL/SPLIT/judgements.jsonl    one line for each answer and judge

A line has the judge's words and all that it was asked. A verdict holds for an answer as long as the
judge would be asked the same about it; whoever scores the run again needs no judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.core.files.jsonl import encode_line, readable_objects, replace_lines
from harness.core.types import Contributions, Metric, Prediction
from harness.remote.judge import INSTRUCTION, Verdict, prompt_of
from harness.run.layout import JUDGEMENTS

PREFIX = "judged_"
"""Of the names of their metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One line of judgements.jsonl."""

    sample_id: str
    settings: Mapping[str, Any]
    """Of the judge: its name, address, temperature and token limit."""
    prompt: str
    raw: str
    right: bool | None

    @property
    def key(self) -> str:
        return key_of(self.settings, self.prompt)

    @property
    def judge(self) -> str:
        return str(self.settings.get("judge"))


def key_of(settings: Mapping[str, Any], prompt: str) -> str:
    """What a verdict depends on, as a hash."""
    text = repr((sorted(settings.items()), prompt))
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def read_judgements(path: Path) -> list[Judged]:
    """The lines of a file of verdicts; those that are none are left out."""
    found = []
    for row in readable_objects(path) if path.is_file() else ():
        settings, right = row.get("settings"), row.get("right")
        texts = [row.get(name) for name in ("sample_id", "prompt", "raw")]
        if isinstance(settings, Mapping) and all(isinstance(text, str) for text in texts):
            sample_id, prompt, raw = map(str, texts)
            right = right if isinstance(right, bool) else None
            found.append(
                Judged(sample_id=sample_id, settings=settings, prompt=prompt, raw=raw, right=right)
            )
    return found


def line(judged: Judged) -> bytes:
    """A line of a file of verdicts."""
    return encode_line(asdict(judged))


def keep(folder: Path, judged: Iterable[Judged], *, judge: str) -> None:
    """Replace a judge's verdicts on a run; those of other judges stay."""
    others = [each for each in read_judgements(folder / JUDGEMENTS) if each.judge != judge]
    replace_lines(folder / JUDGEMENTS, map(line, [*others, *judged]))


def judge_metrics(folder: Path, predictions: Sequence[Prediction]) -> list[Metric]:
    """A metric for each judge that has a verdict on one of the answers."""
    by_judge: dict[str, list[Judged]] = {}
    for each in read_judgements(folder / JUDGEMENTS):
        by_judge.setdefault(each.judge, []).append(each)
    if not by_judge:
        return []
    prompts = {p.sample_id: prompt_of(p) for p in predictions if is_judged(p) and p.raw.strip()}
    found = []
    for lines in by_judge.values():
        valid = [each for each in lines if prompts.get(each.sample_id) == each.prompt]
        if valid:
            found.append(metric(valid[-1].settings, {v.sample_id: v.right for v in valid}))
    return found


def is_judged(prediction: Prediction) -> bool:
    """Whether there is an answer, and something to judge it by."""
    return prediction.error is None and prediction.target is not None


def metric(settings: Mapping[str, Any], verdicts: Mapping[str, bool | None]) -> Metric:
    """The share of answers that a judge calls right.

    Args:
        settings: of the judge.
        verdicts: sample id -> whether it is right; None: unjudged.
    """
    judge = str(settings.get("judge"))
    name = PREFIX + (re.sub(r"[^a-z0-9]+", "_", judge.lower()).strip("_") or "model")
    version = sha256(INSTRUCTION.encode()).hexdigest()[:8]
    return Metric(
        name,
        f"Judged right by {judge}",
        batch=partial(_contributed, name=name, verdicts=verdicts),
        interval="wilson",
        by_topic=True,
        meaning=f"share of answers that the model {judge} at {settings.get('endpoint')} calls "
        f"right, temperature {settings.get('temperature')}, prompt {version}; it sees no picture, "
        "and unjudged answers are left out. Not the task's official score",
    )


def _contributed(
    predictions: Sequence[Prediction], *, name: str, verdicts: Mapping[str, bool | None]
) -> Contributions:
    """1 or 0 for each judged answer. An empty answer is wrong, without a judge."""
    column = [
        0.0 if not p.raw.strip() else None if (v := verdicts.get(p.sample_id)) is None else float(v)
        for p in predictions
    ]
    unjudged = column.count(None)
    caveat = f"{unjudged:,} of {len(column):,} answers are unjudged" if unjudged else ""
    return Contributions({name: column}, caveats={name: caveat} if caveat else {})


def as_judged(
    prediction: Prediction, settings: Mapping[str, Any], prompt: str, verdict: Verdict
) -> Judged:
    """A verdict as a line of the file."""
    return Judged(
        sample_id=prediction.sample_id,
        settings=settings,
        prompt=prompt,
        raw=verdict.raw,
        right=verdict.right,
    )
