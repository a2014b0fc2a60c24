"""KOSMOS-2 (Peng et al., 2023), the library's own class with its generation put right.

Of `Kosmos2ForConditionalGeneration` and its processor in transformers 5.23 and 5.24, four things
are put right, on the instances and not in the library:

- With left padding, the steps after the first count the padding as positions, so a row's answer
  depends on how long the other rows of its batch are; without any, a padding token that the model
  has written itself is not counted. Positions are counted from the mask here.
- `generate` needs a picture. A prompt without one goes to the text model here.
- `generate` goes by the text model's generation settings; here by those of the model it is called
  on.
- The processor takes 64 image tokens for granted; here it is as many as the checkpoint has.

The prompt has no `<grounding>` in front: with it the model marks phrases and boxes in its text,
which is not what the questions ask for. Boxes that it writes nevertheless stay in the raw answer,
which is never edited; extraction leaves them out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.engine.cache_argument import KV_CACHE


def repair(model: Any, processor: Any) -> None:
    """Put this model's generation and this processor right, in place; see above."""
    text_model = model.text_model
    text_model.prepare_inputs_for_generation = _with_positions(
        text_model.prepare_inputs_for_generation, pad=text_model.config.pad_token_id
    )
    model.generate = _with_or_without_picture(model)
    processor.num_image_tokens = model.config.latent_query_num


def encode_images(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """The embeddings of pictures, (N, image tokens, D): what `generate` makes of them."""
    seen = model.vision_model(pixel_values=pixel_values)
    seen = model.vision_model.model.post_layernorm(seen[0])
    embeddings: torch.Tensor = model.image_to_text_projection(F.normalize(seen, dim=-1))[0]
    return embeddings


def _with_positions(
    prepare: Callable[..., dict[str, Any]], *, pad: int
) -> Callable[..., dict[str, Any]]:
    """`prepare`, and the positions that it leaves to the model: of the tokens that are run now, as
    the model counts them for a single row, from pad + 1 on and without the padding."""

    @functools.wraps(prepare)
    def prepare_inputs_for_generation(
        input_ids: torch.Tensor, *arguments: Any, **named: Any
    ) -> dict[str, Any]:
        inputs = prepare(input_ids, *arguments, **named)
        mask = named.get("attention_mask")  # (B, T), with what is in the cache
        ids, cache = inputs["input_ids"], inputs.get(KV_CACHE)
        if mask is None:  # no row has padding; the model would leave out a padding token it wrote
            cached = cache.get_seq_length() if cache is not None else 0
            mask = ids.new_ones(len(ids), cached + ids.shape[1])
        positions = mask.cumsum(dim=1) * mask + pad
        inputs["position_ids"] = positions[:, -ids.shape[1] :]
        return inputs

    return prepare_inputs_for_generation


def _with_or_without_picture(model: Any) -> Callable[..., Any]:
    library: Callable[..., Any] = type(model).generate
    text_model = model.text_model

    @functools.wraps(library)
    def generate(*, pixel_values: torch.Tensor | None = None, **arguments: Any) -> Any:
        text_model.generation_config = model.generation_config
        if pixel_values is None:
            return text_model.generate(**arguments)
        return library(model, pixel_values=pixel_values, **arguments)

    return generate
