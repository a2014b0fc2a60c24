"""How long a prompt and its answer may be, and where rotary positions change, by the config."""

from __future__ import annotations

from typing import Any

_SCALED = ("linear", "dynamic", "yarn")
"""Types of rope whose factor multiplies the context."""


def context_length(config: Any) -> int | None:
    """Tokens of a prompt and its answer together; None where the config does not say.

    Where rotary positions are scaled by a factor it counts, unless the config has counted it
    already.
    """
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1 or getattr(config, "is_encoder_decoder", False):
        return None
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") not in _SCALED:
        return limit
    before = rope.get("original_max_position_embeddings") or limit
    return max(limit, int(before * (rope.get("factor") or 1.0)))


def rope_switch_length(text: Any) -> int | None:
    """The length after which Phi-3.5 rotates all tokens of a sequence by other angles, so that keys
    cached before are void. None: no other family does.

    Args:
        text: the language model's config.
    """
    parameters = getattr(text, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    length: int = text.original_max_position_embeddings
    return length
