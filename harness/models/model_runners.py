"""Image encoding, prefill and decode step of each model family, as the decoding engine needs them.

Two runners cover all families. Where images stand in the sequence (LLaVA, Idefics, Moondream,
Phi-3.5-vision, KOSMOS-2), image features take the places of image tokens. Where cross-attention
attends to them (Llama 3.2 Vision), they are keys of their own. What else differs are the family's
traits, see `harness.families.engine_traits`. Families without any have no runner: transformers'
`generate` runs them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedModel

from harness.engine.cache_argument import kv_argument
from harness.engine.encoded_prompts import (
    EncodedPrompt,
    collate,
    pixel_shapes,
)
from harness.engine.kv_cache import SlotCache
from harness.engine.model_runner import Prefilled
from harness.engine.staging import Staging
from harness.families.engine_traits import CrossAttention, ImageTokens
from harness.families.family import ModelFamily
from harness.models.context_length import rope_switch_length
from harness.models.slot_attention import in_use, slot_mask

KERNELS = ("sdpa", "eager")
"""Kernels of attention that take a mask of any kind, as rows of unequal length need one."""
CHANNELS = 3
"""Of a pixel."""
_MASK = "cross_attention_mask"
_TEXT_INPUTS = ("input_ids", "attention_mask", _MASK)
_STEP_INPUTS = (_MASK,)
_OFFSET = "position_offset"
"""What is added to the number of a generated token for its position, (B, 1); the model does not get
it."""


def runner_for(model: PreTrainedModel, family: ModelFamily) -> FamilyRunner | None:
    """The runner of a model of this family; None where transformers' `generate` has to run it."""
    traits = family.engine
    if traits is None:
        return None
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
    if isinstance(traits, CrossAttention):
        return CrossAttentionRunner(model, traits)
    return ImageTokenRunner(model, traits)


def _without_images(prompt: EncodedPrompt) -> EncodedPrompt:
    """The prompt without the inputs of the vision encoder."""
    inputs = {name: prompt.inputs[name] for name in _TEXT_INPUTS if name in prompt.inputs}
    return replace(prompt, inputs=inputs)


class FamilyRunner(ABC):
    """A `harness.engine.model_runner.ModelRunner`: tokens, positions and masks, which all families
    have in common."""

    cross_attention_layers: Collection[int] = ()
    _image_inputs: Collection[str]
    """The inputs of the vision encoder."""

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
        self._staging = Staging(model.device)
        self.rope_switch_length = rope_switch_length(text)
        self._model: Any = model
        self._language_model = language_model
        self._first_position = first_position
        self._window: int | None = getattr(text, "sliding_window", None)
        self._text_config = text
        self._own_lengths = False
        self._flat_mask = expands_mask or text._attn_implementation != "sdpa"  # noqa: SLF001  # no public name

    @abstractmethod
    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """See `harness.engine.model_runner.ModelRunner`."""

    @property
    def takes_blocks(self) -> bool:
        """Whether its attention can read each slot's own tokens: see `reading_own_lengths`."""
        return not self._flat_mask

    def pixels(self, prompt: EncodedPrompt) -> int:
        """See `harness.engine.model_runner.ModelRunner`."""
        given = [prompt.inputs[name] for name in self._image_inputs if name in prompt.inputs]
        return sum(value.numel() for value in given if value.is_floating_point()) // CHANNELS

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

    def image_growth(self, prompt: EncodedPrompt) -> float:
        """How many times the bytes that a prompt holds besides its tokens another one may hold."""
        del prompt
        return 1.0

    def prefill(
        self, prompts: Sequence[EncodedPrompt], features: Sequence[torch.Tensor | None]
    ) -> Prefilled:
        """See `harness.engine.model_runner.ModelRunner`."""
        cache = DynamicCache()
        batch = collate([_without_images(prompt) for prompt in prompts], pad=0)
        batch = {name: self._staging([value]) for name, value in batch.items()}
        mask = batch["attention_mask"].long()
        given = self._prefill_inputs(batch, prompts, [f for f in features if f is not None])
        positions, step_inputs = self._positions(mask, prompts)
        output = self._language_model(
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **kv_argument(cache),
            **given,
        )
        # Generated tokens attend to as much of the images as the prompt's last token.
        step_inputs |= {name: given[name][:, -1:] for name in _STEP_INPUTS if name in given}
        return Prefilled(output.logits[:, -1].float(), cache, step_inputs)

    def _positions(
        self, mask: torch.Tensor, prompts: Sequence[EncodedPrompt]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The positions of a batch, (B, T) or (3, B, T), and what decode steps need to go on from
        there."""
        del prompts
        return (mask.cumsum(dim=-1) - 1).clamp(min=0) + self._first_position, {}

    def decode_step(
        self, tokens: torch.Tensor, positions: torch.Tensor, valid: torch.Tensor, cache: SlotCache
    ) -> torch.Tensor:
        """See `harness.engine.model_runner.ModelRunner`."""
        if self._window is not None:
            first = positions[:, None] - self._window
            valid &= torch.arange(valid.shape[1], device=valid.device) > first
        step_inputs = dict(cache.step_inputs)
        offset = step_inputs.pop(_OFFSET, 0)
        mask: Any = valid.long() if self._flat_mask else self._bias(valid)
        if self._own_lengths:
            mask = slot_mask(positions, valid.shape[1], self._window)
        output = self._language_model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=positions[:, None] + self._first_position + offset,
            use_cache=True,
            **kv_argument(cache),
            **step_inputs,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    @contextmanager
    def reading_own_lengths(self) -> Iterator[None]:
        """See `harness.engine.model_runner.ModelRunner`."""
        self._own_lengths = True
        try:
            with in_use(self._text_config):
                yield
        finally:
            self._own_lengths = False

    def _bias(self, valid: torch.Tensor) -> torch.Tensor:
        """What is added to attention scores, (B, 1, 1, kv_length). Of a mask every layer would make
        the same again."""
        bias = torch.where(valid, 0.0, -torch.inf).to(self._model.dtype)
        return bias[:, None, None, :]

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
        offset = repeated.pop(_OFFSET, 0)
        output = self._language_model(
            input_ids=tokens,
            attention_mask=(columns >= cached - lengths[:, None]).long(),
            position_ids=lengths[:, None] + ahead + self._first_position + offset,
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
        dtype = self._model.dtype
        return {
            name: self._staging([prompt.inputs[name] for prompt in prompts], dtype)
            for name in names
        }


class ImageTokenRunner(FamilyRunner):
    """A family whose image features stand in the sequence, in place of image tokens."""

    def __init__(self, model: PreTrainedModel, traits: ImageTokens) -> None:
        super().__init__(
            model,
            traits.language_model(model),
            first_position=traits.first_position(model),
            expands_mask=traits.expands_mask,
        )
        self._traits = traits
        self._image_inputs = traits.inputs
        self._embedding: Any = model.get_input_embeddings()

    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """The same for all: prompts with and without images can be in one batch."""
        del prompt
        return None

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """The embeddings of each prompt's images, (tokens, D), in the order of their places."""
        groups: dict[Hashable, list[int]] = {}
        for index, prompt in enumerate(prompts):
            shapes = None if self._traits.pads else pixel_shapes(prompt.inputs)
            groups.setdefault(shapes, []).append(index)
        features: dict[int, torch.Tensor] = {}
        for group in groups.values():
            features.update(
                zip(group, self._encode([prompts[index] for index in group]), strict=True)
            )
        return [features[index] for index in range(len(prompts))]

    def _encode(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """The same of prompts in one batch."""
        names = [name for name in self._traits.inputs if name in prompts[0].inputs]
        found = self._traits.encode(self._model, **self._to_device(prompts, names))
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
        places = self._staging([places])
        embeddings = self._embedding(ids.masked_fill(places, 0))  # (B, T, D)
        if not features:
            return {"inputs_embeds": embeddings}
        first, *later = (
            torch.cat(list(features)).to(embeddings.dtype).split(embeddings.shape[-1], -1)
        )
        given: dict[str, Any] = {
            "inputs_embeds": embeddings.masked_scatter(places[..., None], first)
        }
        if later:
            given |= {"visual_pos_masks": places, "deepstack_visual_embeds": later}
        return given

    def _positions(
        self, mask: torch.Tensor, prompts: Sequence[EncodedPrompt]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if self._traits.positions is None:
            return super()._positions(mask, prompts)
        positions = torch.zeros((3, *mask.shape), dtype=torch.long)
        offsets = []
        for row, prompt in enumerate(prompts):
            found = torch.arange(prompt.length).expand(3, -1)
            if prompt.image_digest:
                found = self._traits.positions(self._model, prompt.inputs)
            positions[:, row, mask.shape[1] - prompt.length :] = found
            offsets.append([int(found.max()) + 1 - prompt.length])
        return self._staging([positions]), {_OFFSET: self._staging([torch.tensor(offsets)])}

    def _image_places(self, prompt: EncodedPrompt) -> torch.Tensor:
        """Where images stand, (1, T) of bool. An image token that the model generated is a word."""
        ids = prompt.inputs["input_ids"]
        if not prompt.image_digest:
            return torch.zeros_like(ids, dtype=torch.bool)
        if self._traits.mask:
            places = prompt.inputs[self._traits.mask].bool()
        else:
            token = self._model.config.image_token_id
            places = (ids == token) | (ids < 0)  # negative: as Phi-3.5's own processor has them
        in_prompt = torch.arange(prompt.length) < prompt.length - prompt.generated
        return places & in_prompt


class CrossAttentionRunner(FamilyRunner):
    """A family whose images are keys of cross-attention, which the prefill makes.

    An image has a fixed number of tiles, the last of which may be empty. The vision encoder attends
    to them, and so do prompt tokens in front of the image, so that both get them; tokens after it
    do not, and so their keys are dropped after the prefill.
    """

    def __init__(self, model: PreTrainedModel, traits: CrossAttention) -> None:
        super().__init__(model, model)
        self.cross_attention_layers = traits.layers(model.config)
        self._traits = traits
        self._image_inputs = traits.inputs
        self._tiles = traits.tiles(model.config)

    def batch_key(self, prompt: EncodedPrompt) -> Hashable:
        """Its number of images: a prompt without any skips layers, and keys have one size."""
        return prompt.inputs["pixel_values"].shape[1] if prompt.image_digest else 0

    def image_growth(self, prompt: EncodedPrompt) -> float:
        """An image without an empty tile has more keys."""
        used = self._used_tiles(prompt)
        return self._tiles * len(used) / sum(used) if used else 1.0

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """What cross-attention attends to, (tiles, patches, D) for each prompt."""
        used = [self._used_tiles(prompt) for prompt in prompts]
        pixels, *others = self._traits.inputs
        inputs = self._to_device(prompts, others)
        inputs[pixels] = self._tiles_to_device([prompt.inputs[pixels] for prompt in prompts], used)
        features = self._traits.encode(self._model, **inputs)
        features = features.reshape(len(prompts), -1, *features.shape[-2:])
        # Another prompt of this batch may have more images.
        return [
            part[: self._tiles * len(own)].clone() for part, own in zip(features, used, strict=True)
        ]

    def _used_tiles(self, prompt: EncodedPrompt) -> Sequence[int]:
        """How many tiles of each image are not empty; nothing for a prompt without an image."""
        return self._traits.used_tiles(prompt.inputs) if prompt.image_digest else ()

    def _tiles_to_device(
        self, pixels: Sequence[torch.Tensor], used: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Pixels, (1, images, tiles, C, H, W) each, as one batch. Empty tiles are zeros, and made
        where they are needed."""
        filled = [
            part[0, image, :tiles]
            for part, own in zip(pixels, used, strict=True)
            for image, tiles in enumerate(own)
        ]
        there = self._staging(filled, self._model.dtype)
        images = max(map(len, used))
        batch = there.new_zeros((len(pixels), images, self._tiles, *there.shape[1:]))
        first = 0
        for row, own in enumerate(used):
            for image, tiles in enumerate(own):
                batch[row, image, :tiles] = there[first : first + tiles]
                first += tiles
        return batch

    def prefill(
        self, prompts: Sequence[EncodedPrompt], features: Sequence[torch.Tensor | None]
    ) -> Prefilled:
        """See `harness.engine.model_runner.ModelRunner`."""
        found = super().prefill(prompts, features)
        used = [self._used_tiles(prompt) for prompt in prompts]
        if any(sum(own) < self._tiles * len(own) for own in used):
            layers: Sequence[Any] = found.cache.layers
            for number in self.cross_attention_layers:
                layer = layers[number]
                layer.keys = self._without_empty_tiles(layer.keys, used)
                layer.values = self._without_empty_tiles(layer.values, used)
            mask = found.step_inputs[_MASK].flatten(2)[:, :, :, None]  # (B, 1, tiles, 1)
            mask = self._without_empty_tiles(mask, used).unflatten(2, (1, -1))[..., 0]
            found = found._replace(step_inputs={**found.step_inputs, _MASK: mask})
        return found

    def _without_empty_tiles(
        self, rows: torch.Tensor, used: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """(B, H, tiles * n, D) with those of empty tiles left out, zeros on the right where a row
        has fewer of them than others."""
        own = self._tiles * max(map(len, used))
        size = rows.shape[2] // own
        longest = max(map(sum, used))
        made = rows.new_zeros((*rows.shape[:2], longest * size, rows.shape[3]))
        for row, images in enumerate(used):
            first = 0
            for image, tiles in enumerate(images):
                start = image * self._tiles * size
                part = rows[row, :, start : start + tiles * size]
                made[row, :, first : first + tiles * size] = part
                first += tiles * size
        return made

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
            _MASK: batch[_MASK],
        }
