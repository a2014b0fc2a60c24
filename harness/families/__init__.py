"""The model families: what is particular to the checkpoints of one architecture. Readable without
torch.

    family           what a family may say of itself: prompt, processor, repairs, engine, builders
    engine_traits    what the decoding engine needs to know of it
    generic          the family of every architecture that is not listed here
    control_tokens   text that is spelled like a control token of a model
    tiny             checkpoints with random weights, from the builders of the families

A family is a module of this package that defines FAMILY, and a line of FAMILIES.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from harness.families import generic
from harness.families.family import ModelFamily

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "aria": "aria",
        "blip": "blip",
        "blip-2": "blip_2",
        "chameleon": "chameleon",
        "deepseek_vl": "deepseek_vl",
        "deepseek_vl_hybrid": "deepseek_vl",
        "fast_vlm": "fast_vlm",
        "florence2": "florence2",
        "fuyu": "fuyu",
        "git": "git",
        "glm46v": "glm4v",
        "glm4v": "glm4v",
        "glm4v_moe": "glm4v",
        "got_ocr2": "got_ocr2",
        "idefics": "idefics",
        "idefics2": "idefics2",
        "idefics3": "idefics3",
        "instructblip": "instructblip",
        "internvl": "internvl",
        "janus": "janus",
        "kosmos-2": "kosmos2",
        "kosmos-2.5": "kosmos_2_5",
        "lighton_ocr": "lighton_ocr",
        "llama4": "llama4",
        "llava": "llava",
        "llava_next": "llava_next",
        "llava_next_video": "llava_next_video",
        "llava_onevision": "llava_onevision",
        "mistral3": "mistral3",
        "mllama": "mllama",
        "moondream1": "moondream",
        "paddleocr_vl": "paddleocr_vl",
        "paligemma": "paligemma",
        "perception_lm": "perception_lm",
        "phi3_v": "phi3v",
        "pix2struct": "pix2struct",
        "qwen2_5_vl": "qwen_vl",
        "qwen2_vl": "qwen_vl",
        "qwen3_vl": "qwen3_vl",
        "qwen3_vl_moe": "qwen3_vl",
        "smolvlm": "smolvlm",
        "video_llama_3": "video_llama_3",
        "vilt": "vilt",
        "vipllava": "vipllava",
    }
)
"""`model_type` of config.json -> the module of its family."""


def family_of(model_type: str) -> ModelFamily:
    """The family of checkpoints of this `model_type`; the generic one where none is listed."""
    module = FAMILIES.get(model_type)
    if module is None:
        return generic.FAMILY
    family: ModelFamily = importlib.import_module(f"{__name__}.{module}").FAMILY
    return family


def every_family() -> list[ModelFamily]:
    """All families that are listed, in the order of their modules."""
    of_modules = {module: model_type for model_type, module in FAMILIES.items()}
    return [family_of(of_modules[module]) for module in sorted(of_modules)]
