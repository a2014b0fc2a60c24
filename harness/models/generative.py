"""A model that generates text: prompts in, one answer each, the same whatever the batch.

What differs between families (templates, image tokens) is in their processors and in
`harness.models.renderers`; there are no family-specific copies of this loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BatchFeature, GenerationConfig, PreTrainedModel

from harness.models.renderers import Renderer
from harness.types import Decoding, Output, Prompt


@dataclass(frozen=True, slots=True)
class Group:
    """The prompts of a batch that can be run together."""

    rows: tuple[int, ...]
    """Their places in the batch."""
    texts: tuple[str, ...]
    inputs: BatchFeature


class GenerativeModel:
    """A decoder behind the harness's `Model` protocol."""

    def __init__(
        self, model: PreTrainedModel, processor: Any, *, render: Renderer, device: str
    ) -> None:
        self._model = model
        self._processor = processor
        self._render = render
        self._device = torch.device(device)
        self._tokenizer = processor.tokenizer
        self._tokenizer.padding_side = "left"
        ends = _end_tokens(model, self._tokenizer)
        pad = self._tokenizer.pad_token_id
        self._ends = frozenset(ends)
        self._pad = pad if pad is not None else ends[0]
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._pad
        # The folder's own generation settings (sampling, penalties) are not the run's.
        model.generation_config = GenerationConfig(
            eos_token_id=ends,
            pad_token_id=self._pad,
            bos_token_id=self._tokenizer.bos_token_id,
        )

    @property
    def description(self) -> Mapping[str, Any]:
        return {
            "class": type(self._model).__name__,
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._device),
            "attention": self._model.config._attn_implementation,  # noqa: SLF001  # no public name
        }

    def prepare(self, prompts: Sequence[Prompt]) -> list[Group]:
        """Prompts with and without images are kept apart: most processors take either kind only."""
        groups = []
        for with_images in (True, False):
            rows = tuple(i for i, p in enumerate(prompts) if bool(p.images) is with_images)
            if rows:
                groups.append(self._encode(rows, [prompts[i] for i in rows]))
        return groups

    def _encode(self, rows: tuple[int, ...], prompts: Sequence[Prompt]) -> Group:
        texts = tuple(self._render(prompt) for prompt in prompts)
        bos = self._tokenizer.bos_token
        arguments: dict[str, Any] = {}
        if bos and texts[0].startswith(bos):
            arguments["add_special_tokens"] = False  # the template has put it there already
        images = [list(prompt.images) for prompt in prompts]
        inputs = self._processor(
            images=images if any(images) else None,
            text=list(texts),
            padding=True,
            return_tensors="pt",
            **arguments,
        )
        return Group(rows, texts, inputs)

    @torch.inference_mode()
    def generate(self, prepared: list[Group], decoding: Decoding) -> list[Output]:
        """One output per prompt, in the batch's order.

        Greedy answers do not depend on the batch (checked in float32); sampled ones depend on the
        seed and on the batch.
        """
        outputs: dict[int, Output] = {}
        for group in prepared:
            outputs.update(zip(group.rows, self._generate(group, decoding), strict=True))
        return [outputs[row] for row in sorted(outputs)]

    def _generate(self, group: Group, decoding: Decoding) -> list[Output]:
        inputs = group.inputs.to(self._device, dtype=self._model.dtype)
        sampling: dict[str, Any] = {"do_sample": False}
        if decoding.temperature > 0:
            sampling = {
                "do_sample": True,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p,
                "top_k": 0,
            }
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(decoding.seed)
            generate: Callable[..., torch.Tensor] = self._model.generate  # type: ignore[assignment]  # typed as a Tensor
            sequences = generate(**inputs, max_new_tokens=decoding.max_new_tokens, **sampling)
        prompt_length = inputs["input_ids"].shape[1]
        generated = sequences[:, prompt_length:].tolist()  # (B, new); waits for the device
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._output(text, ids, int(length))
            for text, ids, length in zip(group.texts, generated, lengths, strict=True)
        ]

    def _output(self, text: str, ids: list[int], tokens_in: int) -> Output:
        """What one row generated, up to and with its end token; the rest is padding."""
        end = next((i + 1 for i, token in enumerate(ids) if token in self._ends), len(ids))
        raw = self._tokenizer.decode(
            ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return Output(raw=raw, prompt=text, tokens_in=tokens_in, tokens=end)


def _end_tokens(model: PreTrainedModel, tokenizer: Any) -> list[int]:
    """Every token that ends an answer, as the checkpoint has it."""
    found: list[int] = []
    for source in (model.generation_config, model.config, model.config.get_text_config()):
        ends = getattr(source, "eos_token_id", None)
        if ends is not None:
            found = ends if isinstance(ends, list) else [ends]
            break
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in found:
        found = [*found, tokenizer.eos_token_id]
    if not found:
        raise ValueError("neither the config nor the tokenizer names an end-of-sequence token")
    return list(found)
