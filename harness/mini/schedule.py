"""The order of the demo's stages, and how long all of them take in several lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the demo."""

    title: str
    cost: float
    """Its share of the time: in units of `harness.mini.pace`."""
    work: Callable[[], object]
    output: Path
    """A file that it begins with: where it is there, some of the work is done."""
    after: tuple[str, ...] = ()
    """The titles of the stages that must be over before."""


def ready(waiting: Sequence[Stage], over: AbstractSet[str]) -> Stage | None:
    """The first stage that waits for no other one; None: each does."""
    return next((stage for stage in waiting if over >= set(stage.after)), None)


def makespan(
    waiting: Sequence[Stage], running: Mapping[str, float], over: AbstractSet[str], *, lanes: int
) -> float:
    """The cost until all stages are over.

    Args:
        waiting: the stages that have not begun, in order.
        running: title -> the cost that is left of a stage.
        over: the titles of the stages that are over.
    """
    left, under_way, done, total = list(waiting), dict(running), set(over), 0.0
    while left or under_way:
        while len(under_way) < lanes and (stage := ready(left, done)):
            left.remove(stage)
            under_way[stage.title] = stage.cost
        first = min(under_way, key=lambda title: under_way[title])
        passed = under_way.pop(first)
        total += passed
        done.add(first)
        under_way = {title: cost - passed for title, cost in under_way.items()}
    return total
