"""The training objectives, one module each; a new objective is a file here and an entry below.

An objective says what the student learns to write, by which loss, and what the teacher must have
given for it. Whoever has to know one of these asks the objective.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

from distill.objectives.answer import Answer
from distill.objectives.logits import Logits
from distill.objectives.multitask import Multitask
from distill.objectives.objective import Objective
from distill.objectives.on_policy import OnPolicy
from distill.objectives.structured import Structured
from harness.core.errors import HarnessError
from harness.core.suggestions import did_you_mean

OBJECTIVES: dict[str, type[Objective]] = {
    "structured": Structured,
    "answer": Answer,
    "multitask": Multitask,
    "logits": Logits,
    "on-policy": OnPolicy,
}
"""Name -> objective."""


class Choice(Protocol):
    """Settings that an objective is chosen by, `DistillConfig` among them."""

    @property
    def objective(self) -> str: ...
    @property
    def objective_settings(self) -> Mapping[str, Any]: ...


def find_objective(name: str) -> type[Objective]:
    """The objective of that name; raises HarnessError."""
    if name not in OBJECTIVES:
        raise HarnessError(
            f"There is no objective {name!r}.{did_you_mean(name, OBJECTIVES)}",
            known=f"The objectives are {', '.join(OBJECTIVES)}.",
        )
    return OBJECTIVES[name]


def objective_of(config: Choice) -> Objective:
    """The objective that `config` names, with its settings.

    Raises:
        HarnessError: there is no such objective, or it has no such setting or value.
    """
    kind = find_objective(config.objective)
    names = [each.name for each in fields(kind)]
    own = [name for name in names if not hasattr(config, name)]
    for name in config.objective_settings:
        if name not in own:
            raise HarnessError(
                f"The objective {kind.name} has no setting {name!r}.",
                known=f"It has {', '.join(own)}." if own else "It has none of its own.",
            )
    shared = {name: getattr(config, name) for name in names if name not in own}
    return kind(**shared, **config.objective_settings)


def takes(name: str, setting: str) -> bool:
    """Whether the objective called `name` has that setting."""
    kind: Any = find_objective(name)
    return setting in {each.name for each in fields(kind)}


def own_settings(objective: Objective, config: Choice) -> dict[str, Any]:
    """The settings of `objective` that are no fields of `config`, with their values."""
    names = [each.name for each in fields(objective)]
    return {name: getattr(objective, name) for name in names if not hasattr(config, name)}


def recorded_objective(record: Mapping[str, Any]) -> type[Objective] | None:
    """The objective of a training, from distill.json; None where it is not known here."""
    config = record.get("config")
    config = config if isinstance(config, Mapping) else {}
    name = config.get("objective", config.get("target"))  # its former name
    return OBJECTIVES.get(name) if isinstance(name, str) else None
