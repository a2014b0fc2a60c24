"""Distilling step-by-step: the answer and the rationale as two tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distill.examples import Example, gold
from distill.field_checks import NOT_NEGATIVE, POSITIVE, check_fields, refusal
from distill.objectives.objective import RATIONALES, Objective, Piece, Target, TeacherOutput
from distill.objectives.structured import STAGES, Stage, stage_pieces
from harness.core.errors import SampleError
from harness.core.types import Style

PREFIX = "[rationale] "


@dataclass(frozen=True, slots=True, kw_only=True)
class Multitask(Objective):
    """The student learns to answer at once and, asked for it, to write the teacher's rationale.

    The paper "Distilling Step-by-Step!" (Hsieh et al., 2023), section 3.2, over N questions x with
    the answer y and the rationale r, and with a prefix of the question that names the task:

        L(theta) = L_answer + lambda L_rationale
        L_answer = - 1/N sum_x 1/|y| sum_i log P_theta(y_i | x, y_<i)
        L_rationale = - 1/N sum_x 1/|r| sum_i log P_theta(r_i | "[rationale] " x, r_<i)

    reported divided by 1 + lambda, as a mean. The answer is the gold one and is asked for without a
    prefix, as in an evaluation; the rationale is the paper's (SVRD) without its conclusion, and the
    weights of its stages count among each other.
    """

    name: ClassVar[str] = "multitask"
    title: ClassVar[str] = "answers and rationales as two tasks"
    writes: ClassVar[str] = "a letter and a rationale"
    style: ClassVar[Style] = "direct"
    needs: ClassVar[frozenset[TeacherOutput]] = RATIONALES

    rationale_weight: float = 1.0
    """lambda"""
    without: tuple[Stage, ...] = ()
    summary_weight: float = 1.0
    caption_weight: float = 1.0
    reasoning_weight: float = 1.0

    def __post_init__(self) -> None:
        weights = [f"{stage}_weight" for stage in STAGES]
        check_fields(self, {"rationale_weight": POSITIVE, **dict.fromkeys(weights, NOT_NEGATIVE)})
        if not any(self._weights().values()):
            raise refusal("reasoning_weight", 0.0, "No token of the rationale would count.")

    def targets(self, example: Example) -> tuple[Target, ...]:
        """The answer after a space, and the stages of the rationale.

        Raises:
            SampleError: there is no rationale to learn.
        """
        pieces = stage_pieces(example, self._weights())
        if not any(piece.weight for piece in pieces):
            raise SampleError("no rationale")
        return (
            Target((Piece(f" {gold(example.sample)}", 1.0),), share=1.0),
            Target(pieces, prefix=PREFIX, share=self.rationale_weight),
        )

    def _weights(self) -> dict[str, float]:
        """Stage -> weight of its tokens among those of the rationale."""
        kept = [stage for stage in STAGES if stage not in self.without]
        return {stage: getattr(self, f"{stage}_weight") for stage in kept}
