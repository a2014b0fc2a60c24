"""Equation 1 of the paper on the answers alone: the control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distill.examples import Example, gold
from distill.field_checks import NOT_NEGATIVE, check_fields, refusal
from distill.objectives.objective import Objective, Piece, Target, TeacherOutput
from harness.core.types import Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Objective):
    """The student learns to write the gold answer at once; no teacher is needed.

    Equation 1 of the paper (section 3.2) with a target t_1 ... t_n that has no rationale: a space,
    the gold answer and the end token,

        L(theta) = - sum_i log P_theta(t_i | q, t_<i)

    as a mean over the target tokens of a batch. The paper reports no such control.
    """

    name: ClassVar[str] = "answer"
    title: ClassVar[str] = "answers only"
    writes: ClassVar[str] = "a letter"
    style: ClassVar[Style] = "direct"
    needs: ClassVar[frozenset[TeacherOutput]] = frozenset()

    conclusion_weight: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, {"conclusion_weight": NOT_NEGATIVE})
        if not self.conclusion_weight:
            raise refusal("conclusion_weight", 0.0, "No token of the target would count.")

    def targets(self, example: Example) -> tuple[Target, ...]:
        """A space and the answer."""
        return (Target((Piece(f" {gold(example.sample)}", self.conclusion_weight),)),)
