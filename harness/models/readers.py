"""How each family sees and reads: what the decoding engine needs of a model.

Two kinds cover all of them. Where pictures stand in the sequence (LLaVA, Idefics, Moondream,
Phi-3.5-vision, KOSMOS-2), what was seen takes the places of the picture's tokens; a family is a
line of FAMILIES. Where they are looked at by cross-attention (Llama 3.2 Vision), they are keys of
their own. Other architectures have no reader, and are run by transformers' `generate`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedModel

from harness.engine.cache import SeatCache
from harness.engine.rows import Row, join, stack
from harness.models import kosmos2
from harness.models.kv_cache import kv_argument

KERNELS = ("sdpa", "eager")
"""Kernels of attention that take a mask of any kind, as rows of unequal length need one."""


@dataclass(frozen=True, slots=True)
class Family:
    """What differs where pictures stand in the sequence."""

    sight: tuple[str, ...]
    """The inputs that only the eyes take."""
    look: Callable[..., Any] = lambda model, **inputs: model.get_image_features(**inputs)
    language: Callable[[Any], Any] = lambda model: model
    """The part that takes embeddings and gives logits."""
    places: str = ""
    """The input that marks where pictures stand; empty: they have a token of their own."""
    first_position: Callable[[Any], int] = lambda _model: 0
    own_mask: bool = False
    """It makes its own mask from one of two dimensions, whatever its kernel."""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llava": Family(("pixel_values",)),
        "llava_next": Family(("pixel_values", "image_sizes")),
        "idefics3": Family(("pixel_values", "pixel_attention_mask")),
        "moondream1": Family(("pixel_values", "image_grids")),
        "phi3_v": Family(("pixel_values", "image_sizes")),
        "kosmos-2": Family(
            ("pixel_values",),
            look=kosmos2.look,
            language=lambda model: model.text_model,
            places="image_embeds_position_mask",
            # Positions are counted from behind the padding token's number on.
            first_position=lambda model: model.config.text_config.pad_token_id + 1,
            own_mask=True,
        ),
    }
)
"""By model_type."""


def reader_of(model: PreTrainedModel) -> ModelReader | None:
    """How this model reads; None where nobody knows."""
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return None  # steps keep positions and tokens on one device
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
        return CrossReader(model)
    family = FAMILIES.get(model_type)
    return SequenceReader(model, family) if family else None


class ModelReader(ABC):
    """What both kinds have in common: tokens, positions and masks."""

    fixed: Collection[int] = ()

    def __init__(
        self,
        model: PreTrainedModel,
        language: Any,
        *,
        first_position: int = 0,
        own_mask: bool = False,
    ) -> None:
        text = model.config.get_text_config()
        self.device = model.device
        self.border = border_of(text)
        self._model: Any = model
        self._language = language
        self._first_position = first_position
        self._window: int | None = getattr(text, "sliding_window", None)
        self._flat_mask = own_mask or text._attn_implementation != "sdpa"  # noqa: SLF001  # no public name

    @abstractmethod
    def lane(self, row: Row) -> Hashable:
        """See `harness.engine.decoding.Reader`."""

    @abstractmethod
    def look(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """See `harness.engine.decoding.Reader`."""

    @abstractmethod
    def _given(
        self,
        batch: Mapping[str, torch.Tensor],
        rows: Sequence[Row],
        features: Sequence[torch.Tensor],
    ) -> dict[str, Any]:
        """What the language model takes of a batch of prompts and of what was seen."""

    def read(
        self, rows: Sequence[Row], seen: Sequence[torch.Tensor | None]
    ) -> tuple[torch.Tensor, Cache, Mapping[str, torch.Tensor]]:
        """See `harness.engine.decoding.Reader`."""
        cache = DynamicCache()
        batch = stack([_words(row) for row in rows], pad=0)
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        mask = batch["attention_mask"].long()
        given = self._given(batch, rows, [part for part in seen if part is not None])
        output = self._language(
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=-1) - 1).clamp(min=0) + self._first_position,
            use_cache=True,
            logits_to_keep=1,
            **kv_argument(cache),
            **given,
        )
        # Whatever is written behind a prompt sees as much of its pictures as its last token.
        extras = {name: given[name][:, -1:] for name in _REMINDERS if name in given}
        return output.logits[:, -1].float(), cache, extras

    def write(
        self, tokens: torch.Tensor, positions: torch.Tensor, valid: torch.Tensor, cache: SeatCache
    ) -> torch.Tensor:
        """See `harness.engine.decoding.Reader`."""
        if self._window is not None:
            first = positions[:, None] - self._window
            valid &= torch.arange(valid.shape[1], device=valid.device) > first
        output = self._language(
            input_ids=tokens[:, None],
            attention_mask=valid.long() if self._flat_mask else valid[:, None, None, :],
            position_ids=positions[:, None] + self._first_position,
            use_cache=True,
            **kv_argument(cache),
            **cache.extras,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def follow(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        cache: Cache,
        extras: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Logits of tokens (N, T) that follow prompts of these lengths, (N,), whose keys and values
        `read` gave: (N, T, V)."""
        cached, more = cache.get_seq_length(), tokens.shape[1]
        columns = torch.arange(cached + more, device=self.device)
        ahead = torch.arange(more, device=self.device)
        repeated = {
            name: value.expand(-1, more, *value.shape[2:]) for name, value in extras.items()
        }
        output = self._language(
            input_ids=tokens,
            attention_mask=(columns >= cached - lengths[:, None]).long(),
            position_ids=lengths[:, None] + ahead + self._first_position,
            use_cache=True,
            **kv_argument(cache),
            **repeated,
        )
        logits: torch.Tensor = output.logits.float()
        return logits

    def _moved(self, rows: Sequence[Row], names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Inputs of several rows, on the model's device; pixels in its dtype, sizes as they are."""
        moved = {}
        for name in names:
            value = join([row.inputs[name] for row in rows])
            dtype = self._model.dtype if value.is_floating_point() else None
            moved[name] = value.to(self.device, dtype, non_blocking=True)
        return moved


class SequenceReader(ModelReader):
    """A model that reads pictures as if they were words."""

    def __init__(self, model: PreTrainedModel, family: Family) -> None:
        super().__init__(
            model,
            family.language(model),
            first_position=family.first_position(model),
            own_mask=family.own_mask,
        )
        self._family = family
        self._embedding: Any = model.get_input_embeddings()

    def lane(self, row: Row) -> Hashable:
        """With and without pictures, they may sit side by side."""
        del row
        return None

    def look(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """The embeddings of each row's pictures, (tokens, D), in the order of their places."""
        if not rows:
            return []
        names = [name for name in self._family.sight if name in rows[0].inputs]
        found = self._family.look(self._model, **self._moved(rows, names))
        found = getattr(found, "pooler_output", found)
        parts = list(found) if isinstance(found, (list, tuple)) else [found]
        features = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
        counts = [int(self._places(row).sum()) for row in rows]
        if sum(counts) != len(features):
            raise ValueError(f"{sum(counts)} places for {len(features)} embeddings of pictures")
        return [part.clone() for part in features.split(counts)]

    def _given(
        self,
        batch: Mapping[str, torch.Tensor],
        rows: Sequence[Row],
        features: Sequence[torch.Tensor],
    ) -> dict[str, Any]:
        ids = batch["input_ids"]
        places = torch.zeros(ids.shape, dtype=torch.bool)
        for place, row in zip(places, rows, strict=True):
            place[len(place) - row.length :] = self._places(row)[0]
        places = places.to(self.device, non_blocking=True)
        embeddings = self._embedding(ids.masked_fill(places, 0))  # (B, T, D)
        if features:
            what = torch.cat(list(features)).to(embeddings.dtype)
            embeddings = embeddings.masked_scatter(places[..., None], what)
        return {"inputs_embeds": embeddings}

    def _places(self, row: Row) -> torch.Tensor:
        """Where pictures stand, (1, T) of bool. A row may have written such a token as a word."""
        ids = row.inputs["input_ids"]
        if not row.pictures:
            return torch.zeros_like(ids, dtype=torch.bool)
        if self._family.places:
            places = row.inputs[self._family.places].bool()
        else:
            token = self._model.config.image_token_id
            places = (ids == token) | (ids < 0)  # negative: as Phi-3.5's own processor has them
        asked = torch.arange(row.length) < row.length - row.written
        return places & asked


class CrossReader(ModelReader):
    """Llama 3.2 Vision: the pictures are keys of cross-attention, made with the prompt."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model, model)
        self.fixed = tuple(model.config.get_text_config().cross_attention_layers)
        self._tiles = int(model.config.vision_config.max_num_tiles)

    def lane(self, row: Row) -> Hashable:
        """Its number of pictures: a row without any leaves layers out, and keys have one size."""
        return row.inputs["pixel_values"].shape[1] if row.pictures else 0

    def look(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """What cross-attention looks at, (tiles, patches, D) for each row."""
        if not rows:
            return []
        inner = self._model.model
        names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
        states = inner.vision_model(**self._moved(rows, names)).last_hidden_state
        seen = inner.multi_modal_projector(states)
        seen = seen.reshape(len(rows), -1, *seen.shape[-2:])
        # Another row of this look may have more pictures.
        tiles = [self._tiles * row.inputs["pixel_values"].shape[1] for row in rows]
        return [part[:own].clone() for part, own in zip(seen, tiles, strict=True)]

    def _given(
        self,
        batch: Mapping[str, torch.Tensor],
        rows: Sequence[Row],
        features: Sequence[torch.Tensor],
    ) -> dict[str, Any]:
        del rows
        if not features:
            return {"input_ids": batch["input_ids"]}
        return {
            "input_ids": batch["input_ids"],
            "cross_attention_states": torch.cat(list(features)),
            "cross_attention_mask": batch["cross_attention_mask"],
        }


_WORDS = ("input_ids", "attention_mask", "cross_attention_mask")
_REMINDERS = ("cross_attention_mask",)


def _words(row: Row) -> Row:
    """The row without what only the eyes take."""
    inputs = {name: row.inputs[name] for name in _WORDS if name in row.inputs}
    return Row(row.text, inputs, row.pictures, row.written)


_STRETCHED = ("linear", "dynamic", "yarn")


def context_of(config: Any) -> int | None:
    """Tokens of a prompt and its answer together; None where the config does not say. Where
    rotary positions are stretched by a factor it counts, unless the config has counted it
    already."""
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1 or getattr(config, "is_encoder_decoder", False):
        return None
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") not in _STRETCHED:
        return limit
    before = rope.get("original_max_position_embeddings") or limit
    return max(limit, int(before * (rope.get("factor") or 1.0)))


def border_of(text: Any) -> int | None:
    """Phi-3.5 turns all of a row by other angles once it is longer than this: what was cached with
    the short ones is void. None: no other family does. `text` is the language model's config."""
    parameters = getattr(text, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    border: int = text.original_max_position_embeddings
    return border
