"""What measured speeds make of the paper's tables: minutes for each of their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from reports.inputs import paper

ANSWERS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "scienceqa": MappingProxyType(
            {
                "llava-cot": 300,
                "llava-next": 20,
                "phi-3.5": 100,
                "moondream": 5,
                "kosmos-2": 60,
                "moondream-kd": 170,
            }
        ),
        "vqaonline": MappingProxyType(
            {
                "llava-cot": 400,
                "llava-next": 200,
                "phi-3.5": 200,
                "moondream": 60,
                "kosmos-2": 60,
            }
        ),
    }
)
"""Tokens that an answer is taken to have, by task and model: nobody has published their lengths."""
VQAONLINE_SUBSET = 665
"""Questions that Table 2 is projected for. The paper does not say how many it used; its train split
has as many, which is what its minutes fit."""
PROJECTION = (
    "Projected, not measured: questions x (reading + (answer tokens - 1) x step) / batch, of the "
    "batch that takes the least, with the weights that were measured here. Answer tokens are "
    "assumed; pictures are taken to be prepared ahead. The paper does not say how many questions "
    "Table 2 has."
)
NONE_OF_MINIS = "Nothing is projected from a mini: the paper's tables are of the published weights."


def projected(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Minutes for each row of the paper's tables, as far as its model was measured; none where
    minis alone were: their minutes would stand beside the paper's.

    Args:
        figures: those of `harness.run.bench.measure`.
    """
    rows: list[dict[str, Any]] = []
    if all(str(one["model"]).endswith("-mini") for one in figures):
        return rows
    for table in paper.load().tables:
        questions = table.n or VQAONLINE_SUBSET
        for row in table.rows:
            tokens = ANSWERS[table.task].get(row.name, 1)
            minutes = [
                _minutes(one, questions, tokens) for one in figures if one["model"] == row.name
            ]
            possible = [m for m in minutes if m is not None]
            rows.append(
                {
                    "table": table.number,
                    "model": row.name,
                    "title": row.model,
                    "questions": questions,
                    "answer_tokens": tokens,
                    "paper_minutes": paper.minutes(row.cells["inference_minutes"]),
                    "projected_minutes": min(possible, default=None),
                }
            )
    return rows


def _minutes(figures: Mapping[str, Any], questions: int, tokens: int) -> float | None:
    if figures["read_seconds"] is None:
        return None
    steps = (tokens - 1) * (figures["step_seconds"] or 0.0)
    seconds: float = questions * (figures["read_seconds"] + steps) / figures["batch"]
    return seconds / 60
