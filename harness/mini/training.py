"""The loop that every mini is trained by, and how a lesson becomes tokens, labels and pixels.

A lesson is a prompt and what is to be written behind it. Its tokens and pixels are made by the
model's own `prepare`, so that training and evaluation see the same. Labels stand on the answer and
the end token alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.core.progress import Make, Silent
from harness.core.types import Prompt
from harness.engine.encoded_prompts import per_token
from harness.mini.curriculum import Line
from harness.models.generative import GenerativeModel

IGNORED = -100
"""The label of tokens that are not learned."""
_CHUNK = 64
"""Pictures that are encoded at a time."""
_LAST = 40
"""Steps whose mean loss decides whether a stage may end."""
_BUCKET = 8
"""Batches whose rows are sorted by length together."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is asked, and what is to be answered."""

    prompt: Prompt
    answer: str
    picture: str
    """Names the prompt's picture: lessons with the same one share its pixels."""
    given: str = ""
    """Stands before the answer, and is not learned."""


@dataclass(frozen=True, slots=True)
class Row:
    """A lesson or a line as tokens."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    beside: Mapping[str, Tensor] = field(default_factory=dict)
    """What else the model wants for each token of the prompt, (1, L, ...)."""
    picture: str = ""


class Encoder:
    """Makes rows for one model, and keeps the pixels of the pictures in them."""

    def __init__(self, model: GenerativeModel) -> None:
        self._model = model
        self._tokenizer: Any = model.tokenizer
        self._pad: int = model.tokenizer.pad_token_id
        self._pixels: dict[str, dict[str, Tensor]] = {}
        self._columns: dict[str, dict[str, Tensor]] = {}

    def line(self, line: Line, picture: str = "") -> Row:
        """A text; its recalled stretches are learned. `picture`: one that stands beside it."""
        tokens = self._tokenizer(line.text, add_special_tokens=False, return_offsets_mapping=True)
        labels = [IGNORED] * len(tokens["input_ids"])
        starts = [start for start, _ in tokens["offset_mapping"]]
        for first, last in line.recalled:
            for place, start in enumerate(starts):
                # Some tokenizers count a word's space to it, some do not.
                if first <= start < last:
                    labels[place] = tokens["input_ids"][place]
        ids = tuple(tokens["input_ids"])
        beside = {
            name: column.expand(-1, len(ids), *column.shape[2:])
            for name, column in self._columns.get(picture, {}).items()
        }
        return Row(ids, tuple(labels), beside, picture)

    def lesson(self, lesson: Lesson) -> Row:
        """A question about a picture; the answer behind it is learned."""
        (prepared,) = self._model.prepare([lesson.prompt])
        inputs, ids = prepared.inputs, prepared.inputs["input_ids"][0].tolist()
        beside = {
            name: inputs[name]
            for name in per_token(inputs)
            if name not in {"input_ids", "attention_mask"}
        }
        self._columns[lesson.picture] = {name: values[:, -1:] for name, values in beside.items()}
        if lesson.picture not in self._pixels:
            # Kept with half the bits, as exactly as pixels of eight bits need.
            others = [n for n in inputs if n not in {*beside, "input_ids", "attention_mask"}]
            self._pixels[lesson.picture] = {
                name: inputs[name].half() if inputs[name].is_floating_point() else inputs[name]
                for name in others
            }
        tokens = self._tokenizer(
            lesson.given + lesson.answer, add_special_tokens=False, return_offsets_mapping=True
        )
        written = [*tokens["input_ids"], self._tokenizer.eos_token_id]
        given = sum(end <= len(lesson.given) for _, end in tokens["offset_mapping"])
        labels = [*[IGNORED] * (len(ids) + given), *written[given:]]
        return Row((*ids, *written), tuple(labels), beside, lesson.picture)

    def batch(self, rows: Sequence[Row]) -> tuple[dict[str, Tensor], Tensor]:
        """The model's inputs and the labels, (B, L), padded on the right, where a causal model
        never looks. All rows have a picture, or none."""
        width = max(len(row.ids) for row in rows)
        inputs = {"input_ids": padded([row.ids for row in rows], self._pad)}
        for name in rows[0].beside:
            # Behind the prompt everything is as at its last token.
            columns = [row.beside[name] for row in rows]
            inputs[name] = torch.cat(
                [torch.cat([c, *[c[:, -1:]] * (width - c.shape[1])], dim=1) for c in columns]
            )
        if rows[0].picture:
            inputs |= self.pixels([row.picture for row in rows])
        return inputs, padded([row.labels for row in rows], IGNORED)

    @property
    def pictures(self) -> Sequence[str]:
        """Those that lessons have brought so far."""
        return tuple(self._columns)

    @torch.no_grad()
    def freeze(self, encode: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
        """Encode every picture now, to be given to the model in place of its pixels."""
        pictures = sorted(key for key, kept in self._pixels.items() if "image_features" not in kept)
        for start in range(0, len(pictures), _CHUNK):
            chunk = pictures[start : start + _CHUNK]
            for picture, features in zip(chunk, encode(self.pixels(chunk)), strict=True):
                self._pixels[picture] = {"image_features": features[None]}

    def pixels(self, pictures: Sequence[str]) -> dict[str, Tensor]:
        """What the processor made of the pictures, as one batch."""
        each = [self._pixels[picture] for picture in pictures]
        joined = {name: torch.cat([one[name] for one in each]) for name in each[0]}
        return {n: t.float() if t.is_floating_point() else t for n, t in joined.items()}


def target_loss(network: Any, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, int]:
    """The summed negative log-likelihood of all labels, and their number. Logits are made where
    there are labels and nowhere else."""
    learned = labels[:, 1:] != IGNORED  # (B, L - 1)

    def only_learned(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        return (arguments[0][:, :-1][learned],)

    handle = network.get_output_embeddings().register_forward_pre_hook(only_learned)
    try:
        logits = network(**inputs, use_cache=False).logits  # (targets, vocabulary)
    finally:
        handle.remove()
    wanted = labels[:, 1:][learned]
    return F.cross_entropy(logits.float(), wanted, reduction="sum"), len(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Steps of one kind."""

    name: str
    steps: int
    """At most."""
    rate: float
    """The peak of the learning rate, after a short warm-up; the end is at a tenth of it where
    `falling`."""
    mix: Mapping[str, int]
    """Kind of line or lesson -> rows of each step. Each kind of lesson weighs the same, and as much
    as all lines together."""
    until: float = 0.0
    """The stage ends early when the mean loss of its last steps is below this."""
    few: float = 0.0
    """Share of the lines that are made of a few words only."""
    frozen: bool = False
    """The vision encoder is not trained: each picture is encoded once. Moondream alone takes
    pictures that are encoded already; for the others it makes no difference."""
    falling: bool = False


def run_stage(
    stage: Stage,
    network: nn.Module,
    step_losses: Callable[[], Iterator[tuple[Tensor, int]]],
    *,
    progress: Make = Silent,
) -> list[float]:
    """Train; returns the mean loss of each step.

    Args:
        step_losses: the parts of one step, each as the sum over its targets and their number.
    """
    network.train()
    parameters = list(network.parameters())
    optimizers = _optimizers(network)
    losses = []
    with progress(stage.name, total=stage.steps, done=0, unit="steps") as bar:
        for step in range(stage.steps):
            for optimizer, times in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(step, stage) * times
            total = 0.0
            for loss, number in step_losses():
                # Each part weighs the same, however long its answers are.
                mean = loss / max(number, 1)
                mean.backward()  # type: ignore[no-untyped-call]  # torch is typed in part
                total += mean.item()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer, _ in optimizers:
                optimizer.step()
            network.zero_grad()
            losses.append(total)
            bar.advance(loss=total)
            if sum(losses[-_LAST:]) < stage.until * _LAST and len(losses) >= _LAST:
                break
    network.eval()
    return losses


_MUON = 2.5
"""Muon's rate as a multiple of a stage's."""


def _optimizers(network: Any) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices inside, AdamW for all else, each with its multiple of the rate.

    With AdamW alone reasoning from a caption took twice the steps.
    """
    head = network.get_output_embeddings()
    inside = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Linear) and module is not head
    } - {id(network.get_input_embeddings().weight)}
    matrices = [p for p in network.parameters() if id(p) in inside]
    others = [p for p in network.parameters() if id(p) not in inside]
    muon = torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [(muon, _MUON), (adam, 1.0)]


def rate_at(step: int, stage: Stage) -> float:
    """The learning rate of a step, 0 to steps - 1."""
    warm = min(1.0, (step + 1) / max(1, min(50, stage.steps // 10)))
    if not stage.falling:
        return stage.rate * warm
    return stage.rate * warm * (0.1 + 0.45 * (1 + math.cos(math.pi * step / stage.steps)))


class Tokens(Protocol):
    """Whatever has tokens."""

    @property
    def ids(self) -> Sequence[int]: ...


R = TypeVar("R", bound=Tokens)


class Shuffled(Generic[R]):
    """Rows without end: all of them, shuffled anew each time, in batches of like lengths."""

    def __init__(self, rows: Sequence[R], chance: Random) -> None:
        self._rows = rows
        self._chance = chance
        self._waiting: list[list[R]] = []
        self._order: list[R] = []

    def __call__(self, number: int) -> Sequence[R]:
        if not self._waiting:
            drawn: list[R] = []
            while len(drawn) < number * _BUCKET:
                if not self._order:
                    self._order = list(self._rows)
                    self._chance.shuffle(self._order)
                drawn.append(self._order.pop())
            drawn.sort(key=lambda row: len(row.ids))
            self._waiting = [drawn[i : i + number] for i in range(0, len(drawn), number)]
            self._chance.shuffle(self._waiting)
        return self._waiting.pop()


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """(B, L) of the longest row."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
