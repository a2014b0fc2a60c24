"""One prompt as the tensors that its processor makes, and several of them as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F  # noqa: N812  # the field's name for it


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt that is ready for a model."""

    text: str
    """As the tokenizer got it."""
    inputs: Mapping[str, torch.Tensor]
    """What the processor made of it, without padding: `input_ids` is (1, T)."""
    image_digest: str = ""
    """A digest of all its images, in their order; empty where it has none."""
    generated: int = 0
    """How many of its last tokens the model generated: see `with_tokens`."""

    @property
    def length(self) -> int:
        """Its tokens, those of its images included."""
        return self.inputs["input_ids"].shape[1]

    def with_tokens(self, tokens: Sequence[int]) -> EncodedPrompt:
        """The prompt followed by generated tokens. All other inputs that have a column for each
        token repeat their last one."""
        grown = dict(self.inputs)
        for name in per_token(self.inputs):
            last = self.inputs[name][:, -1:]
            grown[name] = torch.cat([self.inputs[name], *[last] * len(tokens)], dim=1)
        if tokens:
            grown["input_ids"][0, self.length :] = torch.tensor(tokens)
        return replace(self, inputs=grown, generated=self.generated + len(tokens))


def per_token(inputs: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of the inputs that have a column for each token of the prompt."""
    length = inputs["input_ids"].shape[1]
    return [
        name
        for name, value in inputs.items()
        if value.shape[1:2] == (length,) and not name.startswith("pixel")
    ]


def pixel_shapes(inputs: Mapping[str, torch.Tensor]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The sizes in which prompts are padded in one batch, of the inputs that have no column for
    each token: prompts with the same ones need no padding but of tokens."""
    tokens = per_token(inputs)
    return tuple(
        (name, tuple(value.shape[1:])) for name, value in inputs.items() if name not in tokens
    )


def collate(
    prompts: Sequence[EncodedPrompt], pad: int, *, left: bool = True
) -> dict[str, torch.Tensor]:
    """The prompts as one batch, as a processor makes one of several texts.

    Tokens are padded with `pad` or 0; whatever has no column for each token (pixels, sizes) is
    padded on the right with zeros, and stands in the order of its prompts. A prompt that lacks an
    input (its pixels) adds nothing to it.

    Args:
        left: the side where tokens are padded. What follows a prompt needs it there; an encoder
            that counts its positions needs it on the right.
    """
    longest = max(prompt.length for prompt in prompts)
    tokens = {name for prompt in prompts for name in per_token(prompt.inputs)}
    names = dict.fromkeys(name for prompt in prompts for name in prompt.inputs)
    batch = {}
    for name in names:
        parts = []
        for prompt in prompts:
            value = prompt.inputs.get(name)
            if value is None and name in tokens:
                value = _zeros(name, prompts, prompt.length)
            if value is not None and name in tokens:
                fill = pad if name == "input_ids" else 0
                missing = longest - prompt.length
                ends = [missing, 0] if left else [0, missing]
                sides = [0, 0] * (value.dim() - 2) + ends
                value = F.pad(value, sides, value=fill)
            if value is not None:
                parts.append(value)
        batch[name] = concatenate_padded(parts)
    return batch


def _zeros(name: str, prompts: Sequence[EncodedPrompt], length: int) -> torch.Tensor:
    """Zeros in place of an input that other prompts have a column of for each of their tokens."""
    example = next(prompt.inputs[name] for prompt in prompts if name in prompt.inputs)
    return example.new_zeros((1, length, *example.shape[2:]))


def padded_shape(parts: Sequence[torch.Tensor]) -> tuple[int, ...]:
    """The shape of what `concatenate_padded` makes."""
    sizes = (max(part.shape[d] for part in parts) for d in range(1, parts[0].dim()))
    return sum(map(len, parts)), *sizes


def concatenate_padded(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenate along the first dimension, padded on the right with zeros in the others."""
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(list(parts))
    sizes = padded_shape(parts)[1:]
    padded = []
    for part in parts:
        sides: list[int] = []
        for size, own in zip(reversed(sizes), reversed(part.shape[1:]), strict=True):
            sides += [0, size - own]
        padded.append(F.pad(part, sides))
    return torch.cat(padded)
