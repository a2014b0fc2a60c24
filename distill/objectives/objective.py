"""What a training objective is: the targets that it makes of an example, its loss, and what it
needs from the teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from distill.examples import Example
from harness.core.types import Style

if TYPE_CHECKING:
    from torch import Tensor

TeacherOutput = Literal["rationales"]
"""What a teacher can give: texts in four stages."""
RATIONALES: frozenset[TeacherOutput] = frozenset({"rationales"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a target whose tokens weigh the same in the loss."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Target:
    """A text that the student learns to write after the question, its pieces joined; the end token
    comes after it, with the weight of the last piece."""

    pieces: tuple[Piece, ...]
    prefix: str = ""
    """Text before the question, which tells the student which of several targets is wanted."""
    share: float | None = None
    """What the weights of its tokens are scaled to add up to; None: they stay as they are, so that
    a target counts by its length."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the student writes the answers that it learns from."""

    temperature: float
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class TopLogits:
    """The teacher's highest logits at target tokens; those of all tokens, on-policy."""

    ids: Tensor
    """(T, K), of the tokens that they are of; (T, 0): of all, in their order."""
    logits: Tensor
    """(T, K) or, with that of all other tokens together at the objective's temperature, (T, K + 1),
    as differences from the highest one of each row, in float16; of all tokens, (T, V), in
    float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTokens:
    """The target tokens of a batch, one after the other."""

    logits: Tensor
    """(T, V): the student's, before the softmax, in the type that it computes in."""
    labels: Tensor
    """(T,)"""
    weights: Tensor
    """(T,), in float32."""
    teacher: TopLogits | None = None
    """The teacher's, where the objective needs them."""

    @property
    def exact_logits(self) -> Tensor:
        """The logits in float32 at least."""
        import torch

        return self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective(ABC):
    """A training objective; its fields are its settings.

    A field that `DistillConfig` has as well takes its value; the others are the objective's own,
    and are set by `--objective-set`.
    """

    name: ClassVar[str]
    """Of `--objective`."""
    title: ClassVar[str]
    """What the student is trained on, in words."""
    writes: ClassVar[str]
    """What the student answers with, in words, with its article."""
    style: ClassVar[Style]
    """The style in which the student is asked, and answers."""
    needs: ClassVar[frozenset[TeacherOutput]]
    """What the teacher must have given before training."""

    @property
    def top_logits(self) -> int:
        """How many of the teacher's logits it needs at each target token, the highest ones; 0:
        none. An objective that needs any has one target."""
        return 0

    @property
    def logits_temperature(self) -> float:
        """The temperature at which the other tokens count together."""
        return 1.0

    @property
    def sampling(self) -> Sampling | None:
        """Where the student learns from answers of its own, with the teacher in memory: how it
        writes them. None: its targets are there before training."""
        return None

    @abstractmethod
    def targets(self, example: Example) -> tuple[Target, ...]:
        """What the student learns from one example; raises SampleError where it lacks what the
        objective needs."""

    def loss(self, tokens: TargetTokens) -> Tensor:
        """The loss of a batch; as it stands equation 1 of the paper, as a mean.

        It is a mean over the target tokens by their weights, 0 where all weights are: the losses of
        the parts of a batch, each times the sum of its weights, add up to that of the whole.
        """
        return mean_nll(tokens)


def mean_nll(tokens: TargetTokens) -> Tensor:
    """The weighted mean of the negative log-likelihood of the target tokens, in nats."""
    from torch.nn import functional

    losses = functional.cross_entropy(tokens.exact_logits, tokens.labels, reduction="none")
    return weighted_mean(losses, tokens.weights)


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """The mean of `losses` by `weights`, both (T,); 0 where all weights are."""
    import torch

    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
