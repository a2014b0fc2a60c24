"""On-policy distillation: the student's own answers, scored token by token by the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from distill.examples import Example
from distill.field_checks import POSITIVE, SHARE, check_fields
from distill.objectives.objective import (
    Objective,
    Piece,
    Sampling,
    Target,
    TargetTokens,
    TeacherOutput,
    weighted_mean,
)
from harness.core.types import Style

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicy(Objective):
    """The student writes an answer to each question, and learns the teacher's distribution at each
    token of it.

    The paper "On-Policy Distillation of Language Models" (Agarwal et al., 2024), equation 1 and
    algorithm 1 with lambda = 1: for the question x, the answer y that the student samples, the
    teacher's distribution p and the student's P, both over the whole vocabulary,

        L(theta) = E_x E_{y ~ P_theta(.|x)} 1/|y| sum_n JSD_b(p(.|x', y_<n) || P_theta(.|x, y_<n))
        JSD_b(p || P) = b KL(p || m) + (1 - b) KL(P || m),  m = b p + (1 - b) P

    as a mean over the tokens of a batch; x' is the question as the teacher is asked it. No gradient
    goes through the sampling. With b near 0 the gradient is that of KL(p || P) times b, near 1 that
    of KL(P || p) times 1 - b; at 0 and 1 these divergences themselves are taken, as in the paper.

    It costs, in every step and for every question, an answer that the student generates with its
    pictures, and a forward pass of the teacher, which stays in memory next to the student: many
    times the step of another objective. It is defined only where both vocabularies are equal, or
    can be mapped: the same tokens by other ids.
    """

    name: ClassVar[str] = "on-policy"
    title: ClassVar[str] = "its own answers, scored by the teacher"
    writes: ClassVar[str] = "a whole rationale"
    style: ClassVar[Style] = "structured"
    needs: ClassVar[frozenset[TeacherOutput]] = frozenset()

    beta: float = 0.5
    """b"""
    temperature: float = 1.0
    """Of sampling."""
    sampled_tokens: int = 128
    """Tokens that the student writes at most."""

    def __post_init__(self) -> None:
        check_fields(self, {"beta": SHARE, "temperature": POSITIVE, "sampled_tokens": POSITIVE})

    @property
    def sampling(self) -> Sampling | None:
        return Sampling(self.temperature, self.sampled_tokens)

    def targets(self, example: Example) -> tuple[Target, ...]:
        """The place of an answer that is not written yet."""
        del example
        return (Target((Piece("", 1.0),)),)

    def loss(self, tokens: TargetTokens) -> Tensor:
        assert tokens.teacher is not None
        teacher, student = tokens.teacher.logits, tokens.exact_logits
        # Some heads have more rows than there are tokens; others none for what is never written.
        size = min(teacher.shape[1], student.shape[1])
        found = generalised_jsd(teacher[:, :size], student[:, :size], self.beta)
        return weighted_mean(found, tokens.weights)


def generalised_jsd(teacher: Tensor, student: Tensor, beta: float) -> Tensor:
    """JSD_beta(teacher || student) at each token, (T,), in nats; KL(teacher || student) at 0,
    KL(student || teacher) at 1.

    Args:
        teacher: logits, (T, V).
        student: logits, (T, V).
    """
    import math

    import torch

    p, q = teacher.to(student.dtype).log_softmax(-1), student.log_softmax(-1)
    if beta == 0:
        return _kl(p, q)
    if beta == 1:
        return _kl(q, p)
    parts = torch.stack([p + math.log(beta), q + math.log1p(-beta)])
    mixture = parts.logsumexp(0)
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def _kl(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) of log-probabilities over the last dimension."""
    return (first.exp() * (first - second)).sum(-1)
