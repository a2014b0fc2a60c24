"""One prompt as the tensors of its processor, and several of them as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F  # noqa: N812  # the field's name for it


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt that is ready for a model."""

    text: str
    """As the tokenizer got it."""
    inputs: Mapping[str, torch.Tensor]
    """What the processor made of it, without padding: `input_ids` is (1, T)."""
    pictures: str = ""
    """A digest of all its pictures, in their order; empty where it has none."""
    written: int = 0
    """How many of its last tokens are not the prompt's own: see `extended`."""

    @property
    def length(self) -> int:
        """Its tokens, those of its pictures included."""
        return self.inputs["input_ids"].shape[1]

    def extended(self, tokens: Sequence[int]) -> Row:
        """The row with what was written behind it. All else that has a column for each token keeps
        its last one."""
        grown = dict(self.inputs)
        for name in per_token(self.inputs):
            last = self.inputs[name][:, -1:]
            grown[name] = torch.cat([self.inputs[name], *[last] * len(tokens)], dim=1)
        if tokens:
            grown["input_ids"][0, self.length :] = torch.tensor(tokens)
        return replace(self, inputs=grown, written=self.written + len(tokens))

    def pin_memory(self) -> Row:
        """The row in memory that a GPU reads by itself."""
        pinned = {name: value.pin_memory() for name, value in self.inputs.items()}
        return replace(self, inputs=pinned)

    def to(self, device: torch.device) -> Row:
        """The row on another device; from pinned memory nothing waits for the copy."""
        moved = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=moved)


def per_token(inputs: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of what has a column for each token of the prompt."""
    length = inputs["input_ids"].shape[1]
    return [
        name
        for name, value in inputs.items()
        if value.shape[1:2] == (length,) and not name.startswith("pixel")
    ]


def stack(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """The rows as one batch, as a processor makes one of several texts.

    Tokens are padded on the left, with `pad` or 0; whatever has no column for each token (pixels,
    sizes) is padded with zeros behind, and stands in the order of its rows. A row that lacks an
    input (its pixels) adds nothing to it.
    """
    longest = max(row.length for row in rows)
    tokens = {name for row in rows for name in per_token(row.inputs)}
    names = dict.fromkeys(name for row in rows for name in row.inputs)
    batch = {}
    for name in names:
        parts = []
        for row in rows:
            value = row.inputs.get(name)
            if value is None and name in tokens:
                value = _absent(name, rows, row.length)
            if value is not None and name in tokens:
                fill = pad if name == "input_ids" else 0
                sides = [0, 0] * (value.dim() - 2) + [longest - row.length, 0]
                value = F.pad(value, sides, value=fill)
            if value is not None:
                parts.append(value)
        batch[name] = join(parts)
    return batch


def _absent(name: str, rows: Sequence[Row], length: int) -> torch.Tensor:
    """Zeros in place of an input that other rows have a column of for each of their tokens."""
    example = next(row.inputs[name] for row in rows if name in row.inputs)
    return example.new_zeros((1, length, *example.shape[2:]))


def join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """One behind the other along the first dimension, with zeros to equal sizes in the others."""
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(list(parts))
    sizes = [max(part.shape[d] for part in parts) for d in range(1, parts[0].dim())]
    padded = []
    for part in parts:
        sides: list[int] = []
        for size, own in zip(reversed(sizes), reversed(part.shape[1:]), strict=True):
            sides += [0, size - own]
        padded.append(F.pad(part, sides))
    return torch.cat(padded)
