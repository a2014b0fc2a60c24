"""Which types of models the tests have tried: any batch, either decoder and both modes against a
plain loop of transformers. Others run by the generic family, on trust."""

from __future__ import annotations

from harness.families import FAMILIES

GENERIC = frozenset(
    {
        "aya_vision",
        "cohere2_vision",
        "emu3",
        "gemma3",
        "gemma3n",
        "gemma4",
        "granite4_vision",
        "lfm2_vl",
        "ovis2",
        "qwen3_5",
    }
)
"""`model_type`s of tests/families that have no family of their own."""


def is_tested(model_type: str) -> bool:
    """Whether the tests have a model of this `model_type`."""
    return model_type in GENERIC or model_type in FAMILIES
