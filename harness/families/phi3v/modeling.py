"""Phi-3.5-vision: CLIP crops, merged and laid out row by row, inside transformers' own Phi-3.

Parameters have their published names, so that checkpoints load and save without any renaming.
Pictures reach the language model as a flat list, in the order of their slots in the batch's rows.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call, no-any-return, untyped-decorator"

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionModel,
    GenerationMixin,
    Phi3Model,
    Phi3PreTrainedModel,
    initialization,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding
from transformers.utils.generic import can_return_tuple

from harness.checkpoints.folder import tensor_shapes
from harness.engine.cache_argument import KV_CACHE, kv_argument, kv_cache_of
from harness.families.phi3v.configuration import (
    PUBLISHED_VOCABULARY,
    TURN_ENDS,
    Phi3VConfig,
    count_tokens,
)

_EMBEDDING = "model.embed_tokens.weight"
_SHARED_EMBEDDING = "model.vision_embed_tokens.wte.weight"
"""The published code holds the embedding twice; a file that keeps shared tensors once may have it
under either name."""


class Phi3VRotaryEmbedding(Phi3RotaryEmbedding):
    """Longrope that switches row by row.

    The library, as the original does, gives a whole batch the long factors once its longest row is
    beyond `original_max_position_embeddings`; here a row's positions depend on that row alone.
    """

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self._frequencies: Tensor | None = None

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        if self.rope_type != "longrope":
            return super().forward(x, position_ids)
        short, long = self._short_and_long(x.device)
        switch = self.config.original_max_position_embeddings
        beyond = position_ids.amax(dim=-1, keepdim=True) >= switch  # (B, 1)
        frequencies = torch.where(beyond, long, short)  # (B, D/2)
        angles = position_ids[..., None].float() * frequencies[:, None, :]  # (B, T, D/2)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)

    def _short_and_long(self, device: torch.device) -> Tensor:
        """Inverse frequencies (2, D/2). No buffer: `model.to(bfloat16)` must leave them float32."""
        if self._frequencies is None or self._frequencies.device != device:
            switch = self.config.original_max_position_embeddings
            longrope = ROPE_INIT_FUNCTIONS["longrope"]
            self._frequencies = torch.stack(
                [longrope(self.config, device, seq_len=n)[0] for n in (switch, switch + 1)]
            )
        return self._frequencies


class Phi3VImageEmbedding(nn.Module):
    """CLIP, the two learnt separators and the projector."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        vision: Any = config.vision_config
        width, projected = 4 * vision.hidden_size, config.projector_hidden_size or 0
        # The published names have a `vision_model` level that the library's CLIP no longer has.
        self.img_processor = nn.ModuleDict({"vision_model": CLIPVisionModel(vision)})
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, width))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.img_projection = nn.Sequential(
            nn.Linear(width, projected),
            nn.GELU(),
            nn.Linear(projected, config.hidden_size),
        )
        self.crop_size = config.crop_size
        self.feature_layer = config.feature_layer

    def forward(self, pixel_values: Tensor, image_sizes: Tensor | Sequence[Any]) -> list[Tensor]:
        """One (tokens, hidden) tensor per picture; see `Phi3VModel.get_image_features`."""
        grids = [
            (int(height) // self.crop_size, int(width) // self.crop_size)
            for height, width in torch.as_tensor(image_sizes).tolist()
        ]
        # Crops beyond a picture's own are padding: they are left out before CLIP, not after.
        crops = torch.cat(
            [
                p[: 1 + rows * columns]
                for p, (rows, columns) in zip(pixel_values, grids, strict=True)
            ]
        )
        features = self._encode(crops.to(self.glb_GN.dtype))
        pictures = features.split([1 + rows * columns for rows, columns in grids])
        laid_out = [self._lay_out(p, *grid) for p, grid in zip(pictures, grids, strict=True)]
        projected = self.img_projection(torch.cat(laid_out))
        return list(projected.split([len(p) for p in laid_out]))

    def _encode(self, crops: Tensor) -> Tensor:
        """CLIP's patch features (N, P, C) of crops (N, 3, S, S), without the class token."""
        clip: Any = self.img_processor["vision_model"]
        layers = clip.encoder.layers
        used = (
            self.feature_layer + 1 + len(layers) if self.feature_layer < 0 else self.feature_layer
        )
        hidden = clip.pre_layrnorm(clip.embeddings(crops))
        for layer in layers[:used]:
            hidden = layer(hidden, attention_mask=None)
        return hidden[:, 1:]

    def _lay_out(self, features: Tensor, rows: int, columns: int) -> Tensor:
        """The order that the language model reads: crops, `glb_GN`, the global view.

        `features` (1 + rows * columns, P, C) begins with the global view. Returns (tokens, 4C).
        """
        overview, crops = features[:1], features[1:]
        return torch.cat(
            [self._read(crops, rows, columns), self.glb_GN[0], self._read(overview, 1, 1)]
        )

    def _read(self, crops: Tensor, rows: int, columns: int) -> Tensor:
        """Row-major crops (rows * columns, P, C) as one picture, each row ended by `sub_GN`.

        2 x 2 patches make one token, their channels one after the other.
        """
        half = round(crops.shape[1] ** 0.5) // 2
        channels = crops.shape[2]
        grid = crops.reshape(rows, columns, half, 2, half, 2, channels)
        grid = grid.permute(0, 2, 1, 4, 3, 5, 6).reshape(rows * half, columns * half, 4 * channels)
        ends = self.sub_GN[0].expand(rows * half, 1, -1)
        return torch.cat([grid, ends], dim=1).flatten(0, 1)


class Phi3VPreTrainedModel(Phi3PreTrainedModel):
    """What transformers needs to know of both classes."""

    config_class = Phi3VConfig
    input_modalities = ["image", "text"]  # noqa: RUF012  # as the library has it
    _no_split_modules = ["Phi3DecoderLayer", "CLIPEncoderLayer"]  # noqa: RUF012
    _keys_to_ignore_on_load_unexpected = [f"^{re.escape(_SHARED_EMBEDDING)}$"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Phi3VImageEmbedding):
            initialization.zeros_(module.glb_GN)
            initialization.zeros_(module.sub_GN)


class Phi3VModel(Phi3VPreTrainedModel, Phi3Model):
    """The backbone: Phi-3 with pictures in its input."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.rotary_emb = Phi3VRotaryEmbedding(config)
        self.vision_embed_tokens = Phi3VImageEmbedding(config)
        self.post_init()

    def get_image_features(
        self, pixel_values: Tensor, image_sizes: Tensor | Sequence[Any]
    ) -> list[Tensor]:
        """What the language model reads in place of each picture's slots.

        Args:
            pixel_values: (N, crops, 3, S, S), the global view first; crops beyond a picture's own
                are not looked at.
            image_sizes: (N, 2), height and width in pixels, multiples of S.

        Returns:
            N tensors (tokens, hidden size). They depend on the picture alone: keep them to ask
            several questions about it, and pass them as `image_features`.
        """
        return self.vision_embed_tokens(pixel_values, image_sizes)

    def find_slots(self, input_ids: Tensor) -> Tensor:
        """Where pictures go: `image_token_id`, or the original processor's negative ids."""
        return (input_ids == self.config.image_token_id) | (input_ids < 0)

    def embed(self, input_ids: Tensor, image_features: Sequence[Tensor] | None) -> Tensor:
        """Input embeddings (B, T, hidden), pictures in their slots.

        Raises:
            ValueError: there are more or fewer slots than the pictures have tokens.
        """
        slots = self.find_slots(input_ids)
        embeddings = self.embed_tokens(input_ids.masked_fill(slots, 0))
        if image_features is None:
            # A decoding step has no slots; looking would make it wait for the device.
            if input_ids.shape[1] > 1 and slots.any():
                raise ValueError(f"{int(slots.sum())} image tokens, and no picture was given")
            return embeddings
        features = torch.cat(list(image_features)).to(embeddings)
        if int(slots.sum()) != len(features):
            raise ValueError(
                f"{int(slots.sum())} image tokens in input_ids, {len(features)} in the "
                f"{len(image_features)} pictures given"
            )
        return embeddings.masked_scatter(slots[..., None], features)

    def forward(  # noqa: PLR0917  # transformers fixes the arguments' names and kinds
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        image_features: Sequence[Tensor] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Phi-3's forward pass, with pictures as pixels or as features made before.

        Positions are counted within each row: padding on the left moves nothing.
        """
        if pixel_values is not None and image_features is None:
            if image_sizes is None:
                raise ValueError("pixel_values need image_sizes")
            image_features = self.get_image_features(pixel_values, image_sizes)
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("either input_ids or inputs_embeds must be given")
            inputs_embeds = self.embed(input_ids, image_features)
        elif input_ids is not None or image_features is not None:
            raise ValueError("inputs_embeds stand for input_ids and pictures: give them alone")
        if position_ids is None and attention_mask is not None and attention_mask.dim() == 2:
            counted = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
            position_ids = counted[:, -inputs_embeds.shape[1] :]
        return super().forward(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            **kwargs,
        )


class Phi3VForCausalLM(Phi3VPreTrainedModel, GenerationMixin):
    """Phi-3.5-vision with its language head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012  # as above

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.model = Phi3VModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
        self._stop_where_turns_end()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As the library's. A published checkpoint also stops at the end of a chat turn, and the
        embedding is found under its second name where a folder has only that one."""
        source = pretrained_model_name_or_path
        if source is not None and Path(source).is_dir():
            names = tensor_shapes(Path(source))
            if _EMBEDDING not in names and _SHARED_EMBEDDING in names:
                # Without anchors: `save_pretrained` writes the pattern back as the name.
                renamed = {_SHARED_EMBEDDING: _EMBEDDING}
                kwargs["key_mapping"] = renamed | (kwargs.get("key_mapping") or {})
        loaded = super().from_pretrained(source, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._stop_where_turns_end()  # noqa: SLF001  # its own
        return loaded

    def _stop_where_turns_end(self) -> None:
        """The published files name `</s>`, which no answer ends with, or half of what does."""
        published = self.config.vocab_size == PUBLISHED_VOCABULARY
        if published and self.generation_config.eos_token_id in (None, 2, TURN_ENDS[0]):
            self.generation_config.eos_token_id = list(TURN_ENDS)
        if self.generation_config.pad_token_id is None:
            self.generation_config.pad_token_id = self.config.pad_token_id

    def get_image_features(
        self, pixel_values: Tensor, image_sizes: Tensor | Sequence[Any]
    ) -> list[Tensor]:
        """See `Phi3VModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, image_sizes)

    @can_return_tuple
    def forward(  # noqa: PLR0917  # transformers fixes the arguments' names and kinds
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001
        logits_to_keep: int | Tensor = 0,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        image_features: Sequence[Tensor] | None = None,
        cache: Cache | None = None,  # transformers 5.24's name for past_key_values
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Next-token logits (B, kept, V).

        Args:
            labels: (B, T), -100 where nothing is to be learnt (image slots, the prompt, padding).
            logits_to_keep: so many positions from the end; 0: all of them.
            image_features: what `get_image_features` gave, in place of `pixel_values`.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            image_features=image_features,
            **kv_argument(cache, past_key_values),
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{KV_CACHE: kv_cache_of(outputs)},
        )

    def switches_rope(self, attention_mask: Tensor, cache: Cache) -> bool:
        """Whether a row leaves the short RoPE factors with the tokens that are not cached yet.

        The keys cached for that row have other rotary angles, and are recomputed.
        `attention_mask` (B, cached and new) says how long each row is.
        """
        switch = self.config.original_max_position_embeddings
        if attention_mask.shape[1] <= switch or self.model.rotary_emb.rope_type != "longrope":
            return False
        cached = int(cache.get_seq_length())
        before, after = attention_mask[:, :cached].sum(-1), attention_mask.sum(-1)
        return cached > 0 and bool(((before <= switch) & (after > switch)).any())

    def prepare_inputs_for_generation(  # noqa: PLR0917  # as above
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,  # noqa: FBT001, FBT002
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        image_features: Sequence[Tensor] | None = None,
        cache: Cache | None = None,  # transformers 5.24's name for past_key_values
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The library's, with pictures wherever the prompt is read.

        That is at first, at every step without a cache, and where a row passes the RoPE switch: the
        cache is void then.
        """
        whole = bool(is_first_iteration) or not kwargs.get("use_cache", True)
        cache = past_key_values if cache is None else cache
        mask = attention_mask
        if mask is None and cache is not None:  # the library drops one without padding
            reached = int(cache.get_seq_length()) + (next_sequence_length or 1)
            mask = input_ids.new_ones(len(input_ids), reached)
        if mask is not None and cache and self.switches_rope(mask, cache):
            cache.reset()
            whole, next_sequence_length = True, None
        if whole and not is_first_iteration and inputs_embeds is not None:
            # A prompt given as embeddings has no ids; `input_ids` are the tokens since.
            inputs_embeds = torch.cat([inputs_embeds, self.model.embed_tokens(input_ids)], dim=1)
        pictures = {
            "pixel_values": pixel_values,
            "image_sizes": image_sizes,
            "image_features": image_features,
        }
        library: Any = super()  # its annotations narrow `self` to a protocol of its own
        inputs: dict[str, Any] = library.prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=next_sequence_length,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            is_first_iteration=whole,
            **kv_argument(cache),
            **kwargs,
        )
        # In a conversation that goes on from a cache, the pictures may all be in the cache.
        ids = inputs.get("input_ids")
        if whole and ids is not None and bool(self.model.find_slots(ids).any()):
            inputs |= pictures
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,  # noqa: FBT001, FBT002  # the library's signature
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Rows are repeated for beams and samples; a row's pictures are repeated as a group."""
        pictures = {
            name: model_kwargs.pop(name)
            for name in ("pixel_values", "image_sizes", "image_features")
            if model_kwargs.get(name) is not None
        }
        if expand_size > 1 and pictures and input_ids is not None:
            order = self._repeated(input_ids, pictures, expand_size)
            pictures = {
                name: value[order] if isinstance(value, Tensor) else [value[i] for i in order]
                for name, value in pictures.items()
            }
        library: Any = super()
        input_ids, model_kwargs = library._expand_inputs_for_generation(  # noqa: SLF001
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return input_ids, {**model_kwargs, **pictures}

    def _repeated(self, input_ids: Tensor, pictures: dict[str, Any], expand_size: int) -> list[int]:
        """The pictures' places in the flat list once each row stands there `expand_size` times."""
        if "image_features" in pictures:
            tokens = [len(features) for features in pictures["image_features"]]
        else:
            half, side = self.config.patches_per_side // 2, self.config.crop_size
            tokens = [
                count_tokens(int(height) // side, int(width) // side, half)
                for height, width in torch.as_tensor(pictures["image_sizes"]).tolist()
            ]
        slots = self.model.find_slots(input_ids).sum(-1)
        order: list[int] = []
        first = 0
        for wanted in slots.tolist():
            last = first
            while wanted > 0 and last < len(tokens):
                wanted -= tokens[last]  # noqa: PLW2901  # counts down
                last += 1
            order += [*range(first, last)] * expand_size
            first = last
        return order
