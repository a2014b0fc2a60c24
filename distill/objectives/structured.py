"""Equation 1 of the paper on structured rationales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from distill.examples import Example, gold
from distill.field_checks import NOT_NEGATIVE, check_fields, refusal
from distill.objectives.objective import RATIONALES, Objective, Piece, Target, TeacherOutput
from harness.core import structured
from harness.core.errors import SampleError
from harness.core.types import Style
from harness.data.answer_keys import LETTERS

Stage = Literal["summary", "caption", "reasoning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured(Objective):
    """The student learns to write the teacher's rationale and, as its conclusion, the gold answer.

    Section 3.2 of the paper, equation 1: for the tokens q of question and image and the target
    t_1 ... t_n, rationale and answer with the end token,

        L(theta) = - sum_i log P_theta(t_i | q, t_<i)

    as a mean over the target tokens of a batch. With other weights than 1 it is the weighted mean
    sum_i w_i (- log P_theta(t_i | q, t_<i)) / sum_i w_i.
    """

    name: ClassVar[str] = "structured"
    title: ClassVar[str] = "structured rationales"
    writes: ClassVar[str] = "a whole rationale"
    style: ClassVar[Style] = "structured"
    needs: ClassVar[frozenset[TeacherOutput]] = RATIONALES

    without: tuple[Stage, ...] = ()
    repeat_options: bool = False
    """Whether the student writes the options once more between reasoning and conclusion, so that
    the letter is looked up right where it is needed; each of their tokens weighs 1."""
    summary_weight: float = 1.0
    caption_weight: float = 1.0
    reasoning_weight: float = 1.0
    conclusion_weight: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, {f"{stage}_weight": NOT_NEGATIVE for stage in _ALL})
        if not any(self.weight_of(stage) for stage in self.stages):
            raise refusal("conclusion_weight", 0.0, "No token of the target would count.")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of a target, in order."""
        return tuple(stage for stage in _ALL if stage not in self.without)

    def weight_of(self, stage: str) -> float:
        """The weight in the loss of each token of `stage`, one of `stages`."""
        weight: float = getattr(self, f"{stage}_weight")
        return weight

    def targets(self, example: Example) -> tuple[Target, ...]:
        """The rationale as the paper has it, with nothing before its first tag and a blank line
        between stages, less the stages that are left out. The conclusion is always the gold answer,
        whatever the teacher concluded. What stands between two stages belongs to the first.

        Raises:
            SampleError: there is no rationale to learn.
        """
        weights = {stage: self.weight_of(stage) for stage in self.stages}
        pieces = stage_pieces(example, weights)
        if self.repeat_options and example.sample.choices:
            options = structured.section(structured.OPTIONS, lettered(example.sample.choices))
            pieces = (*pieces[:-1], Piece(f"{options}\n\n", 1.0), pieces[-1])
        return (Target(pieces),)


STAGES: tuple[Stage, ...] = get_args(Stage)
_ALL = (*STAGES, "conclusion")


def lettered(choices: Sequence[str]) -> str:
    """As the paper's prompt has the options: "A: Alabama, B: Illinois"."""
    return ", ".join(f"{letter}: {text}" for letter, text in zip(LETTERS, choices, strict=False))


def stage_pieces(example: Example, weights: Mapping[str, float]) -> tuple[Piece, ...]:
    """The stages of `weights`, each between its tags, with a blank line between them.

    Args:
        weights: stage, or conclusion for the gold answer -> weight of its tokens, in order.

    Raises:
        SampleError: there is no rationale, and a stage of one is asked for.
    """
    texts = {"conclusion": gold(example.sample)}
    if set(weights) - set(texts):
        if example.rationale is None:
            raise SampleError("no rationale")
        texts |= {stage: getattr(example.rationale, stage) for stage in STAGES}
    # A stage that the teacher left out is no empty stage.
    stages = [stage for stage in weights if texts[stage].strip()]
    tagged = [structured.section(stage.upper(), texts[stage]) for stage in stages]
    between = ["\n\n"] * (len(stages) - 1) + [""]
    return tuple(
        Piece(text + gap, weights[stage])
        for stage, text, gap in zip(stages, tagged, between, strict=True)
    )
