"""Image encoding, prefill and decode step of each model family, as the decoding engine needs them.

Two runners cover all families. Where images stand in the sequence (LLaVA, Idefics, Moondream,
Phi-3.5-vision, KOSMOS-2), image features take the places of image tokens; a family is a line of
FAMILIES. Where cross-attention attends to them (Llama 3.2 Vision), they are keys of their own.
Other architectures have no runner: transformers' `generate` runs them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedModel

from harness.engine.encoded_prompts import EncodedPrompt, collate, concatenate_padded
from harness.engine.kv_cache import SlotCache
from harness.engine.model_runner import Prefilled
from harness.models import kosmos2
from harness.models.cache_argument import kv_argument
from harness.models.context_length import rope_switch_length

KERNELS = ("sdpa", "eager")
"""Kernels of attention that take a mask of any kind, as rows of unequal length need one."""


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between families whose images stand in the sequence."""

    image_inputs: tuple[str, ...]
    """The inputs of the vision encoder."""
    encode_images: Callable[..., Any] = lambda model, **inputs: model.get_image_features(**inputs)
    language_model: Callable[[Any], Any] = lambda model: model
    """The part that takes embeddings and gives logits."""
    image_mask: str = ""
    """The input that marks where images stand; empty: they have a token of their own."""
    first_position: Callable[[Any], int] = lambda _model: 0
    expands_mask: bool = False
    """It expands a mask of two dimensions itself, whatever its kernel."""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llava": Family(("pixel_values",)),
        "llava_next": Family(("pixel_values", "image_sizes")),
        "idefics3": Family(("pixel_values", "pixel_attention_mask")),
        "moondream1": Family(("pixel_values", "image_grids")),
        "phi3_v": Family(("pixel_values", "image_sizes")),
        "kosmos-2": Family(
            ("pixel_values",),
            encode_images=kosmos2.encode_images,
            language_model=lambda model: model.text_model,
            image_mask="image_embeds_position_mask",
            # The first position is the one after the padding token's id.
            first_position=lambda model: model.config.text_config.pad_token_id + 1,
            expands_mask=True,
        ),
    }
)
"""By model_type."""


def runner_for(model: PreTrainedModel) -> FamilyRunner | None:
    """The runner of this model's family; None where transformers' `generate` has to run it."""
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return None  # decode steps keep positions and tokens on one device
    text = model.config.get_text_config()
    kernel = text._attn_implementation  # noqa: SLF001  # no public name
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if kernel not in KERNELS or not kinds <= {"full_attention", "sliding_attention"}:
        return None
    windowed = getattr(text, "sliding_window", None) is not None
    if windowed and (len(kinds) > 1 or kernel == "eager"):
        return None
    model_type = str(model.config.model_type)
    if model_type == "mllama":
        return CrossAttentionRunner(model)
    family = FAMILIES.get(model_type)
    return ImageTokenRunner(model, family) if family else None


def shares_prompt_cache(model: PreTrainedModel) -> bool:
    """Whether several answers can follow one prompt's KV cache, in `generate` too: all of the state
    is in it, a row for each prompt."""
    return str(model.config.model_type) in {*FAMILIES, "mllama"}


class FamilyRunner(ABC):
    """A `harness.engine.model_runner.ModelRunner`: tokens, positions and masks, which all families
    have in common."""

    cross_attention_layers: Collection[int] = ()

    def __init__(
        self,
        model: PreTrainedModel,
        language_model: Any,
        *,
        first_position: int = 0,
        expands_mask: bool = False,
    ) -> None:
        text = model.config.get_text_config()
        self.device = model.device
        self.rope_switch_length = rope_switch_length(text)
        self._model: Any = model
        self._language_model = language_model
        self._first_position = first_position
        self._window: int | None = getattr(text, "sliding_window", None)
        self._flat_mask = expands_mask or text._attn_implementation != "sdpa"  # noqa: SLF001  # no public name

    @abstractmethod
    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """See `harness.engine.model_runner.ModelRunner`."""

    @abstractmethod
    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """See `harness.engine.model_runner.ModelRunner`."""

    @abstractmethod
    def _prefill_inputs(
        self,
        batch: Mapping[str, torch.Tensor],
        prompts: Sequence[EncodedPrompt],
        features: Sequence[torch.Tensor],
    ) -> dict[str, Any]:
        """What the language model takes of a batch of prompts and of its image features."""

    def prefill(
        self, prompts: Sequence[EncodedPrompt], features: Sequence[torch.Tensor | None]
    ) -> Prefilled:
        """See `harness.engine.model_runner.ModelRunner`."""
        cache = DynamicCache()
        batch = collate([_without_images(prompt) for prompt in prompts], pad=0)
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        mask = batch["attention_mask"].long()
        given = self._prefill_inputs(batch, prompts, [f for f in features if f is not None])
        output = self._language_model(
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=-1) - 1).clamp(min=0) + self._first_position,
            use_cache=True,
            logits_to_keep=1,
            **kv_argument(cache),
            **given,
        )
        # Generated tokens attend to as much of the images as the prompt's last token.
        step_inputs = {name: given[name][:, -1:] for name in _STEP_INPUTS if name in given}
        return Prefilled(output.logits[:, -1].float(), cache, step_inputs)

    def decode_step(
        self, tokens: torch.Tensor, positions: torch.Tensor, valid: torch.Tensor, cache: SlotCache
    ) -> torch.Tensor:
        """See `harness.engine.model_runner.ModelRunner`."""
        if self._window is not None:
            first = positions[:, None] - self._window
            valid &= torch.arange(valid.shape[1], device=valid.device) > first
        output = self._language_model(
            input_ids=tokens[:, None],
            attention_mask=valid.long() if self._flat_mask else valid[:, None, None, :],
            position_ids=positions[:, None] + self._first_position,
            use_cache=True,
            **kv_argument(cache),
            **cache.step_inputs,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def score(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        cache: Cache,
        step_inputs: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Logits after each of the tokens (N, T) that follow prompts of these lengths, (N,), whose
        keys and values `prefill` gave: (N, T, V)."""
        cached, more = cache.get_seq_length(), tokens.shape[1]
        columns = torch.arange(cached + more, device=self.device)
        ahead = torch.arange(more, device=self.device)
        repeated = {
            name: value.expand(-1, more, *value.shape[2:]) for name, value in step_inputs.items()
        }
        output = self._language_model(
            input_ids=tokens,
            attention_mask=(columns >= cached - lengths[:, None]).long(),
            position_ids=lengths[:, None] + ahead + self._first_position,
            use_cache=True,
            **kv_argument(cache),
            **repeated,
        )
        logits: torch.Tensor = output.logits.float()
        return logits

    def _to_device(
        self, prompts: Sequence[EncodedPrompt], names: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Inputs of several prompts, on the model's device; pixels in its dtype, sizes as they
        are."""
        moved = {}
        for name in names:
            value = concatenate_padded([prompt.inputs[name] for prompt in prompts])
            dtype = self._model.dtype if value.is_floating_point() else None
            moved[name] = value.to(self.device, dtype, non_blocking=True)
        return moved


class ImageTokenRunner(FamilyRunner):
    """A family whose image features stand in the sequence, in place of image tokens."""

    def __init__(self, model: PreTrainedModel, family: Family) -> None:
        super().__init__(
            model,
            family.language_model(model),
            first_position=family.first_position(model),
            expands_mask=family.expands_mask,
        )
        self._family = family
        self._embedding: Any = model.get_input_embeddings()

    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """The same for all: prompts with and without images can be in one batch."""
        del prompt
        return None

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """The embeddings of each prompt's images, (tokens, D), in the order of their places."""
        if not prompts:
            return []
        names = [name for name in self._family.image_inputs if name in prompts[0].inputs]
        found = self._family.encode_images(self._model, **self._to_device(prompts, names))
        found = getattr(found, "pooler_output", found)
        parts = list(found) if isinstance(found, (list, tuple)) else [found]
        features = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
        counts = [int(self._image_places(prompt).sum()) for prompt in prompts]
        if sum(counts) != len(features):
            raise ValueError(f"{sum(counts)} image tokens for {len(features)} image embeddings")
        return [part.clone() for part in features.split(counts)]

    def _prefill_inputs(
        self,
        batch: Mapping[str, torch.Tensor],
        prompts: Sequence[EncodedPrompt],
        features: Sequence[torch.Tensor],
    ) -> dict[str, Any]:
        ids = batch["input_ids"]
        places = torch.zeros(ids.shape, dtype=torch.bool)
        for row, prompt in zip(places, prompts, strict=True):
            row[len(row) - prompt.length :] = self._image_places(prompt)[0]
        places = places.to(self.device, non_blocking=True)
        embeddings = self._embedding(ids.masked_fill(places, 0))  # (B, T, D)
        if features:
            images = torch.cat(list(features)).to(embeddings.dtype)
            embeddings = embeddings.masked_scatter(places[..., None], images)
        return {"inputs_embeds": embeddings}

    def _image_places(self, prompt: EncodedPrompt) -> torch.Tensor:
        """Where images stand, (1, T) of bool. An image token that the model generated is a word."""
        ids = prompt.inputs["input_ids"]
        if not prompt.image_digest:
            return torch.zeros_like(ids, dtype=torch.bool)
        if self._family.image_mask:
            places = prompt.inputs[self._family.image_mask].bool()
        else:
            token = self._model.config.image_token_id
            places = (ids == token) | (ids < 0)  # negative: as Phi-3.5's own processor has them
        in_prompt = torch.arange(prompt.length) < prompt.length - prompt.generated
        return places & in_prompt


class CrossAttentionRunner(FamilyRunner):
    """Llama 3.2 Vision: the images are keys of cross-attention, which the prefill makes."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model, model)
        self.cross_attention_layers = tuple(model.config.get_text_config().cross_attention_layers)
        self._tiles = int(model.config.vision_config.max_num_tiles)

    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """Its number of images: a prompt without any skips layers, and keys have one size."""
        return prompt.inputs["pixel_values"].shape[1] if prompt.image_digest else 0

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """What cross-attention attends to, (tiles, patches, D) for each prompt."""
        if not prompts:
            return []
        inner = self._model.model
        names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
        states = inner.vision_model(**self._to_device(prompts, names)).last_hidden_state
        features = inner.multi_modal_projector(states)
        features = features.reshape(len(prompts), -1, *features.shape[-2:])
        # Another prompt of this batch may have more images.
        tiles = [self._tiles * prompt.inputs["pixel_values"].shape[1] for prompt in prompts]
        return [part[:own].clone() for part, own in zip(features, tiles, strict=True)]

    def _prefill_inputs(
        self,
        batch: Mapping[str, torch.Tensor],
        prompts: Sequence[EncodedPrompt],
        features: Sequence[torch.Tensor],
    ) -> dict[str, Any]:
        del prompts
        if not features:
            return {"input_ids": batch["input_ids"]}
        return {
            "input_ids": batch["input_ids"],
            "cross_attention_states": torch.cat(list(features)),
            "cross_attention_mask": batch["cross_attention_mask"],
        }


_TEXT_INPUTS = ("input_ids", "attention_mask", "cross_attention_mask")
_STEP_INPUTS = ("cross_attention_mask",)


def _without_images(prompt: EncodedPrompt) -> EncodedPrompt:
    """The prompt without the inputs of the vision encoder."""
    inputs = {name: prompt.inputs[name] for name in _TEXT_INPUTS if name in prompt.inputs}
    return replace(prompt, inputs=inputs)
