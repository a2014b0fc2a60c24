"""The conditions of benchmarks/selection.py: how a student is made, and asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VOTES, TEMPERATURE = 5, 0.7
FORMAT = {"keep": "format"}
"""Whatever an attempt concludes."""
CHOICES: Mapping[str, Mapping[str, Any]] = {
    "greedy, agrees": {"attempts": 1, "choose": "first"},
    "greedy, coherent": {"attempts": 1, "choose": "first", "keep": "coherent"},
    "first": {**FORMAT, "choose": "first"},
    "consistency": {**FORMAT, "choose": "consistency"},
    "agreement": {**FORMAT, "choose": "agreement"},
    "gain": {**FORMAT, "choose": "gain"},
    "shortest": {**FORMAT, "choose": "shortest"},
    "longest": {**FORMAT, "choose": "longest"},
    "best": {**FORMAT, "choose": "best"},
    "agrees, first": {"choose": "first"},
}
"""Which of the teacher's attempts are learned: name -> options of rationales. The first attempt is
the greedy one, as in the experiment of benchmarks/effect.py; a filter that is not named is
`agrees`."""
TRAINING: Mapping[str, Any] = {"batch_size": 4, "epochs": 2}
"""Of every student: with few examples many small steps teach more than few large ones."""
ANSWER_EPOCHS, MULTITASK_EPOCHS = 4, 1
"""Epochs that take as long as two of rationales: of letters alone, and of both."""
FURTHER_EPOCHS = 2
"""Epochs of rationales that take as long as the on-policy steps."""
SELECTION, OBJECTIVES, REMEDIES = "selection", "objectives", "remedies"
"""The tables."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How a student is made, and asked."""

    against: Mapping[str, Sequence[str]]
    """Table that it is a row of -> conditions that it is compared with there."""
    choice: str = "greedy, agrees"
    """Of CHOICES."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Of the training, where it is not the preset's."""
    of: str = ""
    """The condition whose student is asked in another way or, with a config, goes on learning."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """How it is asked, where it is the student of another condition."""
    words: str = ""
    """What a table says of it after its name."""

    @property
    def trained(self) -> bool:
        """Whether it has a student of its own."""
        return not self.of or bool(self.config)


def _selected(method: str) -> Condition:
    return Condition(against={SELECTION: ["first"]}, choice=method)


CONDITIONS: Mapping[str, Condition] = {
    "structured": Condition(
        against={SELECTION: ["first"], OBJECTIVES: ["answer"], REMEDIES: []},
        words="one attempt, `--filter agrees`",
    ),
    "first": Condition(
        against={SELECTION: [], REMEDIES: ["structured"]},
        choice="first",
        words="one attempt, whatever it concludes",
    ),
    "consistency": _selected("consistency"),
    "agreement": _selected("agreement"),
    "gain": _selected("gain"),
    "shortest": _selected("shortest"),
    "longest": _selected("longest"),
    "best": _selected("best"),
    "agrees, first": Condition(
        against={SELECTION: ["first"]},
        choice="agrees, first",
        words="of four attempts, `--filter agrees`",
    ),
    "answer": Condition(
        against={OBJECTIVES: []},
        config={"objective": "answer", "epochs": ANSWER_EPOCHS},
        words=f"letters alone, {ANSWER_EPOCHS} epochs, the control",
    ),
    "multitask": Condition(
        against={OBJECTIVES: ["answer", "structured"]},
        config={"objective": "multitask", "epochs": MULTITASK_EPOCHS},
        words=f"{MULTITASK_EPOCHS} epoch",
    ),
    "logits": Condition(
        against={OBJECTIVES: ["answer", "structured"]}, config={"objective": "logits"}
    ),
    "further": Condition(
        against={OBJECTIVES: ["answer", "structured"]},
        of="structured",
        config={"epochs": FURTHER_EPOCHS, "learning_rate": 2e-4},
        words=f"`structured`, then {FURTHER_EPOCHS} more epochs",
    ),
    "on-policy": Condition(
        against={OBJECTIVES: ["answer", "further"]},
        of="structured",
        config={"objective": "on-policy", "epochs": 1, "learning_rate": 2e-4},
        words="`structured`, then its own answers",
    ),
    "coherent": Condition(
        against={REMEDIES: ["structured", "first"]},
        choice="greedy, coherent",
        words="one attempt, `--filter coherent`",
    ),
    "weight 4": Condition(
        against={REMEDIES: ["structured"]},
        config={"conclusion_weight": 4.0},
        words="`--stage-weight conclusion=4`",
    ),
    "options repeated": Condition(
        against={REMEDIES: ["structured"]},
        config={"repeat_options": True},
        words="`--repeat-options`",
    ),
    "conclude": Condition(
        against={REMEDIES: ["structured"]},
        of="structured",
        generation={"conclude": True},
        words="`--conclude`, when asked",
    ),
    "votes": Condition(
        against={REMEDIES: ["structured"]},
        of="structured",
        generation={"votes": VOTES, "temperature": TEMPERATURE},
        words=f"`--votes {VOTES} --temperature {TEMPERATURE}`, when asked",
    ),
}
