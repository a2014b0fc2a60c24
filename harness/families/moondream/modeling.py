"""Moondream 2: a SigLIP encoder looks at the whole image and at its tiles, a projector makes tokens
of both, and Phi-1.5 reads them as if they were words."""

# transformers is typed in part: its decorators and base classes are not, and its models return Any.
# mypy: disable-error-code="no-untyped-call, untyped-decorator, no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from transformers import (
    AutoTokenizer,
    Cache,
    GenerationMixin,
    PhiModel,
    PreTrainedModel,
    SiglipVisionModel,
)
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple
from transformers.utils.hub import cached_file

from harness.checkpoints import pretrained
from harness.core.errors import Exit, HarnessError
from harness.engine.cache_argument import KV_CACHE, kv_argument, kv_cache_of
from harness.families.moondream.configuration import MoondreamConfig
from harness.families.moondream.revisions import refuse_other_revisions

_HUB_ARGUMENTS = ("cache_dir", "local_files_only", "revision", "subfolder", "token")
_IMAGE_INPUTS = ("pixel_values", "image_grids", "image_features")


class MoondreamPreTrainedModel(PreTrainedModel):
    """What transformers needs to know of every Moondream class."""

    config_class = MoondreamConfig
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012  # transformers' own form
    supports_gradient_checkpointing = True
    _no_split_modules = ["SiglipEncoderLayer", "PhiDecoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = [KV_CACHE]  # noqa: RUF012
    # 2024-08-26 has layers for coordinates, which no question here asks for.
    _keys_to_ignore_on_load_unexpected = [r"^region_model\."]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True


class MoondreamProjector(nn.Module):
    """From the features of the whole image and of its tiles to the text model's embeddings."""

    def __init__(self, config: MoondreamConfig) -> None:
        super().__init__()
        vision, text = config.vision_config, config.text_config
        self.fc1 = nn.Linear(2 * vision.hidden_size, config.projector_hidden_size)
        self.act = ACT2FN["gelu_pytorch_tanh"]
        self.fc2 = nn.Linear(config.projector_hidden_size, text.hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(features)))


class MoondreamModel(MoondreamPreTrainedModel):
    """The model without its language head; `vision_tower`, `projector` and `language_model` can be
    frozen each on its own."""

    def __init__(self, config: MoondreamConfig) -> None:
        super().__init__(config)
        self.vision_tower = SiglipVisionModel(config.vision_config)
        self.projector = MoondreamProjector(config)
        self.language_model = PhiModel(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_image_features(
        self, pixel_values: torch.Tensor, image_grids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The image tokens' embeddings. They depend on nothing but the image: keep them, and give
        them to `forward` or `generate` as `image_features`, to ask more than one question.

        Args:
            pixel_values: (N, V, 3, s, s), the processor's: the whole image, then its tiles, row by
                row; V is that of the image with most tiles.
            image_grids: (N, 2), rows and columns of tiles, 1 x 1 for an image that has none; may be
                left out where V is 1.

        Returns:
            (N, T, D) with T = (s / patch_size)^2 and D the text model's width.
        """
        if image_grids is None:
            if pixel_values.shape[1] != 1:
                raise ValueError("pixel_values with tiles need the image_grids they come with")
            image_grids = torch.ones(len(pixel_values), 2, dtype=torch.long)
        grids = [(rows, columns) for rows, columns in image_grids.tolist()]
        tiles = [
            views[1 : 1 + _tiles(grid)] for views, grid in zip(pixel_values, grids, strict=True)
        ]
        views = torch.cat([pixel_values[:, 0], *tiles])  # (N + tiles, 3, s, s)
        features = self.vision_tower(pixel_values=views.to(self.vision_tower.dtype))
        encoded = features.last_hidden_state  # (N + tiles, T, C)
        whole, *parts = encoded.split([len(grids), *map(_tiles, grids)])
        detail = [
            stitch(part, grid) if len(part) else view
            for view, part, grid in zip(whole, parts, grids, strict=True)
        ]
        return self.projector(torch.cat([whole, torch.stack(detail)], dim=-1))

    def find_image_tokens(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None
    ) -> torch.Tensor:
        """Where image embeddings go, (B, L) of bool; `inputs_embeds` count where both are given."""
        token = self.config.image_token_id
        if inputs_embeds is None:
            return torch.eq(input_ids, token)  # type: ignore[arg-type]  # one of the two is given
        return (inputs_embeds == self.language_model.embed_tokens.weight[token]).all(dim=-1)

    def embed(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        features: torch.Tensor,
    ) -> torch.Tensor:
        """Token embeddings (B, L, D) with the image tokens' replaced by `features`, in order."""
        where = self.find_image_tokens(input_ids, inputs_embeds)
        found, needed = int(where.sum()), features.shape[0] * features.shape[1]
        if found != needed:
            raise ValueError(
                f"{found} image tokens in the input, {needed} wanted by {len(features)} images of "
                f"{features.shape[1]} tokens each"
            )
        if inputs_embeds is None:
            # The token's id need not lie within the vocabulary.
            ids = torch.masked_fill(input_ids, where, 0)  # type: ignore[arg-type]  # one is given
            inputs_embeds = self.get_input_embeddings()(ids)
        features = features.to(inputs_embeds.device, inputs_embeds.dtype)
        return inputs_embeds.masked_scatter(where.unsqueeze(-1), features)

    @can_return_tuple
    def forward(  # noqa: PLR0917  # transformers fixes the arguments' names and kinds
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_grids: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states of the whole sequence, image tokens included.

        Args:
            input_ids: (B, L), with `image_token_id` T times per image, as the processor has it; or
                `inputs_embeds`, (B, L, D), with that token's embedding in these places.
            pixel_values, image_grids: the processor's; see `get_image_features`.
            image_features: (N, T, D) from an earlier `get_image_features`, in place of these two.
            attention_mask: (B, L), 0 for padding on either side.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if pixel_values is not None and image_features is not None:
            raise ValueError("give either pixel_values or image_features")
        if pixel_values is not None:
            image_features = self.get_image_features(pixel_values, image_grids)
        if image_features is not None:
            inputs_embeds = self.embed(input_ids, inputs_embeds, image_features)
        elif inputs_embeds is None:
            self._refuse_bare_image_tokens(input_ids)  # type: ignore[arg-type]
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if position_ids is None and isinstance(attention_mask, torch.Tensor):
            position_ids = _positions(attention_mask, inputs_embeds.shape[1])
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            **kwargs,
        )

    def _refuse_bare_image_tokens(self, input_ids: torch.Tensor) -> None:
        """Image tokens without an image would be read as words. A single one may be a word: any
        token of the vocabulary can be generated."""
        length = self.config.image_seq_length
        if input_ids.shape[1] <= length:
            return
        if (input_ids == self.config.image_token_id).sum() >= length:
            raise ValueError("image tokens in the input, but no pixel_values and no image_features")


class MoondreamForConditionalGeneration(MoondreamPreTrainedModel, GenerationMixin):
    """Moondream with its language head; the counterpart of the published `Moondream`."""

    def __init__(self, config: MoondreamConfig) -> None:
        super().__init__(config)
        self.model = MoondreamModel(config)
        # With a bias, as in Phi.
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size)
        self.post_init()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *model_args: Any,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As in transformers, with two differences.

        A checkpoint that lacks tensors is an error: transformers would make them up and warn. And
        where the folder says nothing of generation, as the published one does not, answers end at
        its tokenizer's end token: the published code passes that one by hand.

        Raises:
            HarnessError: tensors are missing, or have another shape than the config says; or it is
                a revision with another architecture.
        """
        source = pretrained_model_name_or_path
        if source is not None and Path(source).is_dir():
            refuse_other_revisions(Path(source))
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path,
            *model_args,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **kwargs,
        )
        model, info = loaded
        faults = [f"{name} is missing" for name in sorted(info["missing_keys"])]
        if not ignore_mismatched_sizes:
            faults += [
                f"{name} is {tuple(found)}, not {tuple(wanted)}"
                for name, found, wanted in sorted(info["mismatched_keys"])
            ]
        if faults:
            raise HarnessError(
                f"{pretrained_model_name_or_path} is not a whole Moondream: {faults[0]}"
                + (f", and {len(faults) - 1} more." if faults[1:] else "."),
                known="Such tensors would be random numbers.",
                remedy="Download the checkpoint again, with its config.json.",
                code=Exit.MISSING,
            )
        hub = {"local_files_only": False}
        hub |= {name: kwargs[name] for name in _HUB_ARGUMENTS if name in kwargs}
        model._set_token_ids(pretrained_model_name_or_path, hub)  # noqa: SLF001  # this class's own
        return loaded if output_loading_info else model

    def _set_token_ids(self, source: Any, hub: dict[str, Any]) -> None:
        """generation_config.json's, else the tokenizer's, else the config's."""
        generation = self.generation_config
        stated = not generation._from_model_config  # noqa: SLF001  # there is no public name
        if stated and generation.eos_token_id is not None:
            return
        sources: list[Any] = [self.config.text_config]
        if source is not None and cached_file(
            source, "tokenizer_config.json", _raise_exceptions_for_missing_entries=False, **hub
        ):
            sources.insert(0, pretrained.load(AutoTokenizer, source, **hub))
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            ids = (getattr(each, name) for each in sources)
            setattr(generation, name, next((token for token in ids if token is not None), None))
        if generation.pad_token_id is None:
            generation.pad_token_id = generation.bos_token_id  # as published
        generation._from_model_config = False  # noqa: SLF001

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.lm_head = new_embeddings

    def get_image_features(
        self, pixel_values: torch.Tensor, image_grids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `MoondreamModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, image_grids)

    @can_return_tuple
    def forward(  # noqa: PLR0917  # transformers fixes the arguments' names and kinds
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_grids: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001
        logits_to_keep: int | torch.Tensor = 0,
        cache: Cache | None = None,  # transformers 5.24's name for past_key_values
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, L, vocabulary); see `MoondreamModel.forward` for the inputs.

        Args:
            labels: (B, L), the token ids to learn, -100 where none is; the loss is the mean
                negative log-likelihood of each label given what stands before it.
            logits_to_keep: how many logits, counted from the end, or which; 0 is all.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            image_grids=image_grids,
            image_features=image_features,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kv_argument(cache, past_key_values),
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            vocabulary = self.config.text_config.vocab_size
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=vocabulary, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{KV_CACHE: kv_cache_of(outputs)},
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        *arguments: Any,
        # generate() takes inputs_embeds only where it finds them named here.
        inputs_embeds: torch.Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        library: Any = super()  # its annotations narrow `self` to a protocol of its own
        inputs: dict[str, Any] = library.prepare_inputs_for_generation(
            input_ids,
            *arguments,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in _IMAGE_INPUTS:  # they are in the cache by now
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,  # noqa: FBT001, FBT002  # transformers' signature
        input_ids: Any = None,
        **model_kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Encode the images once per `generate`, and repeat them row by row for beams and samples:
        a row may have no image, or several."""
        pixels, grids, features = (model_kwargs.pop(name, None) for name in _IMAGE_INPUTS)
        if pixels is not None:
            features = self.get_image_features(pixels, grids)
        if features is not None and expand_size > 1:
            where = self.model.find_image_tokens(input_ids, model_kwargs.get("inputs_embeds"))
            images = where.sum(dim=1) // features.shape[1]  # (B,)
            rows = features.split(images.tolist())
            features = torch.cat([row for row in rows for _ in range(expand_size)])
        input_ids, model_kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        if features is not None:
            model_kwargs["image_features"] = features
        return input_ids, model_kwargs


def stitch(tiles: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The tiles' features laid side by side, (rows * columns, T, C), and shrunk to one view's
    size, (T, C): bilinear, without antialiasing, as published."""
    rows, columns = grid
    side = isqrt(tiles.shape[1])
    sheet = tiles.reshape(rows, columns, side, side, -1).permute(4, 0, 2, 1, 3)
    sheet = sheet.reshape(1, -1, rows * side, columns * side)  # (1, C, height, width)
    small = F.interpolate(sheet, size=(side, side), mode="bilinear")
    return small[0].flatten(1).transpose(0, 1)


def _tiles(grid: Sequence[int]) -> int:
    """An image of one tile is the whole view already: it has no tiles of its own."""
    rows, columns = grid
    return rows * columns if rows * columns > 1 else 0


def _positions(attention_mask: torch.Tensor, length: int) -> torch.Tensor | None:
    """Positions counted over what is not padding, (B, L), for the last `length` places."""
    if attention_mask.ndim != 2:
        return None
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)[:, -length:]
