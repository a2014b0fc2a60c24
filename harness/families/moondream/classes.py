"""Moondream's classes, and how transformers' auto classes come to know them: `register()`, which
`import harness.models` calls, lets them load the published folder layout."""

from harness.families.moondream.configuration import MoondreamConfig
from harness.families.moondream.conversion import WEIGHT_CONVERSIONS
from harness.families.moondream.modeling import (
    MoondreamForConditionalGeneration,
    MoondreamModel,
    MoondreamPreTrainedModel,
)
from harness.families.moondream.processing import MoondreamImageProcessor, MoondreamProcessor

__all__ = [
    "MoondreamConfig",
    "MoondreamForConditionalGeneration",
    "MoondreamImageProcessor",
    "MoondreamModel",
    "MoondreamPreTrainedModel",
    "MoondreamProcessor",
    "register",
]


def register() -> None:
    """Make the classes known to transformers' auto classes; any number of calls is one.

    A local class goes before the remote code that a folder's `auto_map` names, so none is run and
    nothing is asked.
    """
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoProcessor,
    )
    from transformers.conversion_mapping import register_checkpoint_conversion_mapping

    AutoConfig.register(MoondreamConfig.model_type, MoondreamConfig, exist_ok=True)
    # The published auto_map names AutoModelForCausalLM: that way in is ours too.
    for auto_class in (AutoModelForImageTextToText, AutoModelForCausalLM):
        auto_class.register(MoondreamConfig, MoondreamForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(MoondreamConfig, MoondreamProcessor, exist_ok=True)
    register_checkpoint_conversion_mapping(
        MoondreamForConditionalGeneration.__name__, list(WEIGHT_CONVERSIONS), overwrite=True
    )
