"""Hinton's soft labels: the teacher's distribution at each token of the rationale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from distill.field_checks import POSITIVE, SHARE, check_fields
from distill.objectives.objective import TargetTokens, TopLogits, mean_nll, weighted_mean
from distill.objectives.structured import Structured

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Logits(Structured):
    """The student learns the rationale and, at each of its tokens, the teacher's distribution.

    The paper "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), section 2: the
    weighted mean of the loss on the labels, here equation 1 (see `Structured`), and of the
    divergence from the teacher's distribution p to the student's, both at temperature tau; tau^2
    keeps their gradients in proportion,

        L(theta) = (1 - a) L_structured + a tau^2 sum_i w_i KL_i / sum_i w_i
        KL_i = sum_v p_tau(v | q', t_<i) log (p_tau(v | q', t_<i) / P_theta,tau(v | q, t_<i))

    for the question q' as the teacher was asked it. Of the teacher the top_k highest logits are
    kept, and the probability of all other tokens together: v goes over these tokens and the others
    as one, so that the divergence of equal distributions is 0. It is defined only where both
    vocabularies are equal, or can be mapped: the same tokens by other ids.
    """

    name: ClassVar[str] = "logits"
    title: ClassVar[str] = "structured rationales with the teacher's logits"

    temperature: float = 2.0
    """tau"""
    weight: float = 0.5
    """a"""
    top_k: int = 20

    def __post_init__(self) -> None:
        Structured.__post_init__(self)
        check_fields(self, {"temperature": POSITIVE, "weight": SHARE, "top_k": POSITIVE})

    @property
    def top_logits(self) -> int:
        return self.top_k

    @property
    def logits_temperature(self) -> float:
        return self.temperature

    def loss(self, tokens: TargetTokens) -> Tensor:
        assert tokens.teacher is not None
        found = divergence(tokens.teacher, tokens.exact_logits, self.temperature)
        soft = self.temperature**2 * weighted_mean(found, tokens.weights)
        return (1 - self.weight) * mean_nll(tokens) + self.weight * soft


def divergence(teacher: TopLogits, student: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) at each token, (T,), in nats. Where nothing of the teacher's other
    tokens was kept, as by earlier versions, its distribution is that over its highest ones.

    Args:
        student: logits, (T, V).
    """
    import torch

    wanted = (teacher.logits.to(student.dtype) / temperature).log_softmax(-1)
    every = (student / temperature).log_softmax(-1)
    found = every.gather(1, teacher.ids)  # (T, K)
    if wanted.shape[1] > found.shape[1]:
        others = every.scatter(1, teacher.ids, -math.inf).logsumexp(-1, keepdim=True)
        found = torch.cat([found, others], dim=1)
    return (wanted.exp() * (wanted - found)).sum(-1)
