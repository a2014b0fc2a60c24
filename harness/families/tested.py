"""Which types of models the tests have tried: any batch, either decoder and both modes against a
plain loop of transformers. Others run by the generic family, on trust."""

from __future__ import annotations

from harness.families import FAMILIES

GENERIC = frozenset(
    {"gemma3", "idefics2", "internvl", "llava_onevision", "mistral3", "paligemma"}
    | {"qwen2_5_vl", "qwen2_vl", "qwen3_vl", "smolvlm"}
)
"""`model_type`s of tests/families that have no family of their own."""


def is_tested(model_type: str) -> bool:
    """Whether the tests have a model of this `model_type`."""
    return model_type in FAMILIES or model_type in GENERIC
