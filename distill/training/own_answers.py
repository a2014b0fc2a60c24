"""The student's own answers, for an objective that is learned on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from distill.examples import Example
from distill.objectives.objective import Sampling
from distill.training.network import Network
from harness.engine.encoded_prompts import EncodedPrompt, collate, pixel_shapes


class Score(Protocol):
    """The teacher of the student's own answers."""

    def __call__(self, example: Example, tokens: Sequence[int]) -> Tensor:
        """The teacher's logits at each token of an answer, (T, V)."""

    def check(self, example: Example, tokens: int) -> None:
        """Raises SampleError where an answer of so many tokens does not fit into its context."""


class SampledAnswers:
    """`answers(prompts)`: the tokens of an answer to each, by the student as it is now. They depend
    on torch's generator, whose state is in every checkpoint."""

    def __init__(
        self, network: Network, processor: Any, sampling: Sampling, autocast: torch.dtype | None
    ) -> None:
        self._network = network
        self._tokenizer = processor.tokenizer
        self._sampling = sampling
        self._autocast = autocast

    @property
    def most(self) -> int:
        """Tokens of an answer, at most."""
        return self._sampling.max_new_tokens

    @torch.no_grad()
    def __call__(self, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        model = self._network.model
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            kinds: dict[object, list[int]] = {}
            for place, prompt in enumerate(prompts):
                kind = (bool(prompt.image_digest), prompt.length, pixel_shapes(prompt.inputs))
                kinds.setdefault(kind, []).append(place)
            found: dict[int, list[int]] = {}
            for places in kinds.values():
                answers = self._write([prompts[place] for place in places])
                found.update(zip(places, answers, strict=True))
        finally:
            for module, training in modes.items():
                module.training = training
        return [found[place] for place in range(len(prompts))]

    def _write(self, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """Answers to prompts of one shape: no family's positions have to look past padding."""
        model, end = self._network.model, self._tokenizer.eos_token_id
        inputs = {}
        for name, value in collate(prompts, end).items():
            dtype = self._network.pixel_dtype if value.is_floating_point() else None
            inputs[name] = value.to(model.device, dtype)
        kind = model.device.type
        with torch.autocast(kind, self._autocast, enabled=self._autocast is not None):
            whole = model.generate(
                **inputs,
                do_sample=True,
                temperature=self._sampling.temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=self._sampling.max_new_tokens,
                eos_token_id=end,
                pad_token_id=end,
            )
        generated = whole[:, inputs["input_ids"].shape[1] :].tolist()
        return [ids[: ids.index(end) + 1] if end in ids else ids for ids in generated]
