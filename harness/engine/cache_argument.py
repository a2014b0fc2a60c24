"""The KV cache under the name that the installed transformers gives it.

Up to 5.23 models take and return it as `past_key_values`, from 5.24 on as `cache`. The library
still takes the old name where it is given one by a caller, with a warning; but what it calls itself
(our own classes' `forward` and `prepare_inputs_for_generation`) gets the new one only.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

KV_CACHE = next(
    field.name
    for field in fields(CausalLMOutputWithPast)
    if field.name in {"cache", "past_key_values"}
)
"""The argument's name and the output's."""


def kv_argument(*given: Cache | None) -> dict[str, Any]:
    """The keyword argument that hands on the first cache of `given`; {} where all are None."""
    return next(({KV_CACHE: cache} for cache in given if cache is not None), {})


def kv_cache_of(output: Any) -> Any:
    """The cache that a model, or `generate`, returned; None where it made none."""
    return getattr(output, KV_CACHE)
