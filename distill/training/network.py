"""A student's network as training sees it: its parts, the features of its pictures, and its forward
pass up to the language head.

What differs between families are their traits: see `harness.families.training_traits` and, for the
way of image features into the language model, `harness.families.engine_traits`. Features depend on
the pictures alone in every family that can be a student; Qwen3-VL's, of several depths, lie side by
side in one tensor, and those of Llama 3.2 Vision are what its cross-attention attends to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from distill.config import Part
from harness.engine.encoded_prompts import EncodedPrompt, concatenate_padded, pixel_shapes
from harness.families.engine_traits import CrossAttention, ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import TrainingTraits
from harness.models.context_length import rope_switch_length

CROSS_MASK = "cross_attention_mask"
"""The input that says to which tiles a token attends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Token sequences of a batch, as the language model takes them."""

    ids: Tensor
    """(B, L)"""
    places: Tensor
    """(B, L) of bool: where image features stand."""
    positions: Tensor | None = None
    """(B, L) or, in three dimensions, (3, B, L); None: 0, 1, 2 ... in each row."""
    attends: Tensor | None = None
    """(B, L, L) of bool: to which tokens each attends; None: to those before it."""
    cross: Tensor | None = None
    """(B, L, pictures, tiles): to which tiles each token attends, where it does so by
    cross-attention."""

    def to(self, device: torch.device) -> Sequences:
        """The same on another device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return Sequences(
            ids=self.ids.to(device),
            places=self.places.to(device),
            positions=moved(self.positions),
            attends=moved(self.attends),
            cross=moved(self.cross),
        )


def part_of(name: str, traits: TrainingTraits) -> Part | None:
    """The part that a parameter or a module lies in, by its name; None: in none of them."""
    owners: Mapping[str, Part] = {
        **dict.fromkeys(traits.vision, "vision"),
        **dict.fromkeys(traits.projector, "projector"),
        traits.embeddings: "embeddings",
        traits.language: "layers",
        traits.head: "head",
    }
    found = [each for each in owners if name == each or name.startswith(f"{each}.")]
    return owners[max(found, key=len)] if found else None


def parts_of_parameters(model: nn.Module, traits: TrainingTraits) -> dict[str, set[Part]]:
    """Name of each parameter -> the parts that it lies in: two where the head is the embeddings."""
    names: dict[int, str] = {id(p): name for name, p in model.named_parameters()}
    found: dict[str, set[Part]] = {name: set() for name in names.values()}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if part := part_of(name, traits):
            found[names[id(parameter)]].add(part)
    return found


def hash_parameters(model: nn.Module, names: Sequence[str]) -> str | None:
    """The sha256 of these parameters: their names, types, shapes and bits. None where one is spread
    over several processes."""
    from torch.distributed.tensor import DTensor

    digest = sha256()
    parameters = dict(model.named_parameters())
    if any(isinstance(parameters[name], DTensor) for name in names):
        return None
    for name in sorted(names):
        tensor = parameters[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def image_places(
    prompt: EncodedPrompt, images: ImageTokens | CrossAttention, config: Any
) -> Tensor:
    """Where image features stand in a prompt, (T,) of bool; with cross-attention nowhere."""
    ids = prompt.inputs["input_ids"][0]
    if not prompt.image_digest or isinstance(images, CrossAttention):
        return torch.zeros_like(ids, dtype=torch.bool)
    if images.mask:
        return prompt.inputs[images.mask][0].bool()
    # Negative: as Phi-3.5's own processor has them.
    return ids.eq(config.image_token_id) | ids.lt(0)


class Network:
    """A model whose parts are known by its family's traits."""

    def __init__(self, model: Any, family: ModelFamily) -> None:
        assert family.training is not None
        images = family.training.images or family.engine
        assert images is not None
        self.model = model
        self.family = family
        self.traits: TrainingTraits = family.training
        self.images: ImageTokens | CrossAttention = images
        self.width: int = model.get_input_embeddings().weight.shape[1]
        """Of the embeddings."""
        self._rope_switch = rope_switch_length(model.config.get_text_config())

    @property
    def language(self) -> Any:
        """The language model without its head."""
        return self.model.get_submodule(self.traits.language)

    @property
    def head(self) -> Any:
        return self.model.get_submodule(self.traits.head)

    def modules_of(self, part: Part) -> list[nn.Module]:
        """The modules that lie in a part whole."""
        return [m for name, m in self.model.named_modules() if part_of(name, self.traits) == part]

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[Tensor]:
        """The features of each prompt's pictures, in the order of their places: (tokens, D) or, for
        cross-attention, (tiles, patches, D).

        Args:
            prompts: with pixels and with at least one picture each.
        """
        one_pass = isinstance(self.images, CrossAttention) or self.images.pads
        if not one_pass and len({pixel_shapes(prompt.inputs) for prompt in prompts}) > 1:
            return [found for each in prompts for found in self.encode_images([each])]
        dtype, device = self.pixel_dtype, self.model.device
        inputs = {}
        for name in self.images.inputs:
            if name in prompts[0].inputs:
                value = concatenate_padded([prompt.inputs[name] for prompt in prompts])
                inputs[name] = value.to(device, dtype if value.is_floating_point() else None)
        found = self.images.encode(self.model, **inputs)
        if isinstance(self.images, CrossAttention):
            whole = found.reshape(len(prompts), -1, *found.shape[-2:])
            tiles = self.images.tiles(self.model.config)
            own = [tiles * prompt.inputs["pixel_values"].shape[1] for prompt in prompts]
            return [part[:count] for part, count in zip(whole, own, strict=True)]
        found = getattr(found, "pooler_output", found)
        parts = list(found) if isinstance(found, (list, tuple)) else [found]
        features = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
        counts = [int(self.places(prompt).sum()) for prompt in prompts]
        if sum(counts) != len(features):
            raise ValueError(f"{sum(counts)} image tokens for {len(features)} image embeddings")
        return list(torch.split(features, counts))

    @property
    def pixel_dtype(self) -> torch.dtype:
        """The type of the vision encoder."""
        vision = self.modules_of("vision")
        return next(
            p.dtype for module in vision for p in module.parameters() if p.is_floating_point()
        )

    @property
    def packs(self) -> bool:
        """Whether rows in one sequence can be kept apart: not where the mask has two dimensions,
        nor where a token without pictures of its own attends to all that there are."""
        return isinstance(self.images, ImageTokens) and not self.images.expands_mask

    def switches(self, length: int) -> bool:
        """Whether a row goes by its highest position, and padding to `length` could change it."""
        return self._rope_switch is not None and length > self._rope_switch

    def places(self, prompt: EncodedPrompt) -> Tensor:
        """See `image_places`."""
        return image_places(prompt, self.images, self.model.config)

    def image_tokens(self, prompt: EncodedPrompt) -> int:
        """Tokens that stand for the pictures of a prompt, or what cross-attention attends to in
        place of them."""
        if isinstance(self.images, ImageTokens):
            return int(self.places(prompt).sum())
        tiles = self.images.tiles(self.model.config)
        pictures = prompt.inputs[CROSS_MASK].shape[2] if prompt.image_digest else 0
        patches: int = self.model.model.vision_model.num_patches
        return pictures * tiles * patches

    def positions(self, prompt: EncodedPrompt, length: int) -> Tensor | None:
        """The positions of a prompt and of what follows it, `length` tokens in all: (length,) or
        (3, length); None: 0, 1, 2 ...

        Args:
            prompt: with or without its pixels.
        """
        if isinstance(self.images, CrossAttention):
            return None
        if self.images.positions is None:
            first = self.images.first_position(self.model)
            return torch.arange(first, first + length) if first else None
        if not prompt.image_digest:
            return torch.arange(length).expand(3, -1)
        found: Tensor = self.images.positions(self.model, prompt.inputs)
        after = found.max() + 1 + torch.arange(length - found.shape[1])
        return torch.cat([found.cpu(), after.expand(3, -1)], dim=1)

    def hidden_states(
        self, batch: Sequences, features: Sequence[Tensor], owners: Sequence[int]
    ) -> Tensor:
        """The last hidden state of each token, (B, L, D).

        Args:
            features: of the pictures of each question, in the order of the tokens; see
                `encode_images`.
            owners: the sequence of each of `features`.
        """
        if isinstance(self.images, CrossAttention):
            own: list[list[Tensor]] = [[] for _ in batch.ids]
            for owner, each in zip(owners, features, strict=True):
                own[owner].append(each)
            return self._cross_attended(batch, own)
        embeddings = self.model.get_input_embeddings()(batch.ids.masked_fill(batch.places, 0))
        given: dict[str, Any] = {}
        if features:
            # What is wider than the embeddings goes into later layers.
            together = torch.cat(list(features)).to(embeddings.device, embeddings.dtype)
            first, *later = torch.split(together, self.width, -1)
            embeddings = embeddings.masked_scatter(batch.places[..., None], first)
            if later:
                given = {"visual_pos_masks": batch.places, "deepstack_visual_embeds": later}
        found: Tensor = self.language(
            inputs_embeds=embeddings,
            attention_mask=self._mask(batch.attends, embeddings.dtype),
            position_ids=batch.positions,
            use_cache=False,
            **given,
        ).last_hidden_state
        return found

    def _mask(self, attends: Tensor | None, dtype: torch.dtype) -> Any:
        """The mask as the kernel takes it, (B, 1, L, L). None: padding comes last, where causal
        attention never looks, and the kernels for plain causal attention are the fastest."""
        if attends is None:
            return None
        text = self.model.config.get_text_config()
        window = getattr(text, "sliding_window", None)
        full = self._kernel_mask(attends, dtype)
        if not window:
            return full
        length = attends.shape[-1]
        ago = torch.arange(length)[:, None] - torch.arange(length)
        near = (ago < window).to(attends.device)
        windowed = self._kernel_mask(attends & near, dtype)
        kinds = set(getattr(text, "layer_types", None) or ())
        if len(kinds) > 1:
            return {"full_attention": full, "sliding_attention": windowed}
        return windowed

    def _kernel_mask(self, attends: Tensor, dtype: torch.dtype) -> Tensor:
        text = self.model.config.get_text_config()
        if text._attn_implementation == "sdpa":  # noqa: SLF001  # no public name
            return attends[:, None]
        lowest = torch.finfo(dtype).min
        zeros = torch.zeros(attends.shape, dtype=dtype, device=attends.device)
        return zeros.masked_fill(~attends, lowest)[:, None]

    def _cross_attended(self, batch: Sequences, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Sequences of as many tiles together: one without any skips layers.

        Args:
            features: of each sequence.
        """
        assert isinstance(self.images, CrossAttention)
        counts = [sum(map(len, each)) for each in features]
        found: dict[int, Tensor] = {}
        for count in dict.fromkeys(counts):
            rows = [row for row, own in enumerate(counts) if own == count]
            given: dict[str, Any] = {}
            if count:
                assert batch.cross is not None
                pictures = count // self.images.tiles(self.model.config)
                states = torch.cat([each for row in rows for each in features[row]])
                given["cross_attention_states"] = states.to(batch.ids.device, self.model.dtype)
                given["cross_attention_mask"] = batch.cross[rows, :, :pictures]
            attends = None if batch.attends is None else batch.attends[rows]
            hidden = self.model.model(
                input_ids=batch.ids[rows],
                attention_mask=self._mask(attends, self.model.dtype),
                position_ids=None if batch.positions is None else batch.positions[rows],
                use_cache=False,
                **given,
            ).last_hidden_state
            found.update(zip(rows, hidden, strict=True))
        return torch.stack([found[row] for row in range(len(counts))])
