"""What has changed in a file of answers since it was scored."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.types import Prediction
from harness.metrics.questions import are_same, digests


def changes(before: Sequence[Prediction], now: Sequence[Prediction]) -> str:
    """In words: "3 answers differ (first: id 7), 1 question is new (id 12)"; empty: nothing that
    is an answer or a question."""
    then, texts = digests(before), {p.sample_id: p for p in before}
    asked = digests(now)
    both = [p for p in now if p.sample_id in texts]
    other = [p.sample_id for p in both if not are_same(asked[p.sample_id], then[p.sample_id])]
    parts = (
        ([p.sample_id for p in both if p.raw != texts[p.sample_id].raw], "answer", "differ"),
        (other, "question", "differ"),
        ([p.sample_id for p in now if p.sample_id not in texts], "question", "are new"),
        ([name for name in texts if name not in asked], "question", "are gone"),
        (
            [p.sample_id for p in both if _about(p) != _about(texts[p.sample_id])],
            "question",
            "have another topic or group",
        ),
        (
            [p.sample_id for p in both if p.finish != texts[p.sample_id].finish],
            "answer",
            "have another finish_reason",
        ),
        (
            [p.sample_id for p in both if p.metadata != texts[p.sample_id].metadata],
            "question",
            "have other further fields",
        ),
    )
    return ", ".join(_words(ids, noun, verb) for ids, noun, verb in parts if ids)


def _about(prediction: Prediction) -> tuple[str, str]:
    return prediction.topic, prediction.group


_SINGULAR = {"differ": "differs", "are new": "is new", "are gone": "is gone"}


def _words(ids: Sequence[str], noun: str, verb: str) -> str:
    if len(ids) == 1:
        verb = _SINGULAR.get(verb, verb.replace("have", "has"))
        return f"1 {noun} {verb} (id {ids[0][:40]})"
    return f"{len(ids):,} {noun}s {verb} (first: id {ids[0][:40]})"
