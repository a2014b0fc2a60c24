"""From rows to the tensors of one forward pass: padding on the right, or packing.

Packed, a sequence holds several short rows. None attends to another, and the positions of each
begin anew, so that the loss is that of the same rows one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from distill.objectives.objective import TopLogits
from distill.training.network import CROSS_MASK, Network, Sequences
from distill.training.tokens import IGNORED, Row
from harness.engine.encoded_prompts import EncodedPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of one forward pass."""

    sequences: Sequences
    labels: Tensor
    """(B, L); IGNORED where nothing is learned."""
    weights: Tensor
    """(B, L), in float32."""
    features: Sequence[Tensor] | None = None
    """The features of each row's pictures, of the rows that have any; None where there are none or
    where the encoder is trained."""
    pictured: Sequence[EncodedPrompt] | None = None
    """The prompts of these rows, with pixels, where the encoder is trained."""
    owners: Sequence[int] = ()
    """The sequence of each of these rows."""
    teacher: TopLogits | None = None
    """Of the target tokens, in the order of the sequences; None where the objective needs none."""
    tokens: int
    """Length of all rows, padding left out."""

    @property
    def ids(self) -> Tensor:
        """The tokens, (B, L)."""
        return self.sequences.ids

    @property
    def weight(self) -> float:
        """The sum of the weights of all target tokens: what the batch's mean loss stands for."""
        return float(self.weights.sum())

    @property
    def targets(self) -> int:
        """Target tokens."""
        return int((self.labels != IGNORED).sum())

    def muted(self) -> Batch:
        """The same with nothing to learn: its loss is 0."""
        return replace(
            self,
            labels=torch.full_like(self.labels, IGNORED),
            weights=torch.zeros_like(self.weights),
            teacher=self.teacher and TopLogits(self.teacher.ids[:0], self.teacher.logits[:0]),
            tokens=0,
        )


def one_by_one(lengths: Sequence[int]) -> list[list[int]]:
    """A sequence for each row."""
    return [[row] for row in range(len(lengths))]


def packed(lengths: Sequence[int]) -> list[list[int]]:
    """The rows of each sequence: the longest ones first, each into the first sequence with room for
    it. No sequence is longer than the longest row."""
    capacity = max(lengths, default=0)
    groups: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        place = next((i for i, free in enumerate(room) if lengths[row] <= free), None)
        if place is None:
            place = len(groups)
            groups.append([])
            room.append(capacity)
        groups[place].append(row)
        room[place] -= lengths[row]
    return groups


def sequences_of(
    rows: Sequence[Row], groups: Sequence[Sequence[int]], network: Network, *, pad: int
) -> Sequences:
    """The rows of each group in one sequence.

    Args:
        pad: the token that comes after the last one.
    """
    places = [network.places(row.prompt) for row in rows]
    at_places = [
        nn.functional.pad(p, (0, len(r.ids) - len(p))) for p, r in zip(places, rows, strict=True)
    ]
    return Sequences(
        ids=joined_padded([row.ids for row in rows], groups, pad),
        places=padded(_joined(at_places, groups), False),
        positions=_positions(rows, groups, network),
        attends=_attends(rows, groups, network),
        cross=_cross(rows),
    )


def joined_padded(
    values: Sequence[Sequence[float]], groups: Sequence[Sequence[int]], value: float
) -> Tensor:
    """(B, L), of numbers for each token of each row; whole numbers stay such."""
    return padded(_joined([torch.tensor(each) for each in values], groups), value)


def padded(tensors: Sequence[Tensor], value: float) -> Tensor:
    """(B, L, ...) of the longest one."""
    return nn.utils.rnn.pad_sequence(list(tensors), batch_first=True, padding_value=value)


def _joined(tensors: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> list[Tensor]:
    """What is along the tokens of each row, along the tokens of each sequence."""
    return [torch.cat([tensors[row] for row in group]) for group in groups]


def _positions(
    rows: Sequence[Row], groups: Sequence[Sequence[int]], network: Network
) -> Tensor | None:
    found = [network.positions(row.prompt, len(row.ids)) for row in rows]
    longest = max(sum(len(rows[row].ids) for row in group) for group in groups)
    if all(each is None for each in found) and _is_plain(groups) and not network.switches(longest):
        return None
    numbered = [
        (torch.arange(len(row.ids)) if each is None else each).movedim(-1, 0)
        for row, each in zip(rows, found, strict=True)
    ]
    # After the last one it stands again: a family may go by the highest position of a row.
    stacked = torch.stack(
        [
            torch.cat([each, each[-1:].expand(longest - len(each), *each.shape[1:])])
            for each in _joined(numbered, groups)
        ]
    )
    return stacked.movedim(2, 0) if stacked[0].dim() > 1 else stacked


def _is_plain(groups: Sequence[Sequence[int]]) -> bool:
    return all(len(group) == 1 for group in groups)


def _attends(
    rows: Sequence[Row], groups: Sequence[Sequence[int]], network: Network
) -> Tensor | None:
    """To which tokens each attends; None: to all before it."""
    whole_prompt = network.traits.sees_whole_prompt
    if _is_plain(groups) and not whole_prompt:
        return None
    owners = [torch.full((len(row.ids),), number) for number, row in enumerate(rows)]
    owner = padded(_joined(owners, groups), -1)  # (B, L)
    length = owner.shape[1]
    attends = torch.ones(length, length, dtype=torch.bool).tril()[None].expand(len(owner), -1, -1)
    if whole_prompt:
        in_prompt = [torch.arange(len(row.ids)) < row.prompt.length for row in rows]
        prompt = padded(_joined(in_prompt, groups), False)
        attends = attends | (prompt[:, :, None] & prompt[:, None, :])
    return attends & (owner[:, :, None] == owner[:, None, :])


def _cross(rows: Sequence[Row]) -> Tensor | None:
    """To which tiles each token attends, (B, L, pictures, tiles), the answer to as many as the
    prompt's last token. None: there is no cross-attention. Such rows are never packed."""
    masks = [row.prompt.inputs.get(CROSS_MASK) for row in rows]
    tiles = next((mask.shape[-1] for mask in masks if mask is not None), None)
    if tiles is None:
        return None
    most = max(mask.shape[2] for mask in masks if mask is not None)
    grown = []
    for row, mask in zip(rows, masks, strict=True):
        own = torch.zeros(len(row.ids), most, tiles, dtype=torch.long)
        if mask is not None and row.prompt.image_digest:
            asked, pictures = mask.shape[1:3]
            own[:asked, :pictures] = mask[0]
            own[asked:, :pictures] = mask[0, -1]
        grown.append(own)
    return padded(grown, 0)
