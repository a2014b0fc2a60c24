"""How many kernels a decode step of a published size launches: counted on the meta device, where a
model of any size has no weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    DynamicCache,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MistralConfig,
    MllamaConfig,
    MllamaForConditionalGeneration,
)

from harness.engine.decode_step import DecodeStep
from harness.engine.kv_cache import SlotCache
from harness.engine.model_runner import Prefilled
from harness.families import family_of
from harness.models.model_runners import runner_for

NO_KERNELS = {
    f"aten::{name}"
    for name in (
        "detach", "empty", "empty_like", "empty_strided", "new_empty", "_unsafe_view", "view",
        "lift_fresh", "expand", "t", "transpose", "slice", "select", "unsqueeze", "squeeze",
        "permute", "as_strided", "unbind", "split", "alias",
    )
}  # fmt: skip


class Kernels(TorchDispatchMode):
    """Counts the operations that are no views: each is a kernel on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        view = any(each.alias_info and not each.alias_info.is_write for each in returns)
        self.number += not view and func._schema.name not in NO_KERNELS
        return made


def attention_of_a_gpu(
    query: Any, key: Any, value: Any, attn_mask: Any = None, *, scale: Any = None, **_: Any
) -> torch.Tensor:
    """What torch launches there: one kernel, after those that make a mask of bool into a bias."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.where(attn_mask.logical_not(), -torch.inf, 0.0).to(query.dtype)
    bias = attn_mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    return efficient(query, key, value, bias, False, 0.0, False, scale=scale)[0]


def moondream() -> tuple[Any, Any]:
    from harness.families.moondream.configuration import MoondreamConfig
    from harness.families.moondream.modeling import MoondreamForConditionalGeneration

    config = MoondreamConfig(model_type="moondream1", text_config={"model_type": "phi"})
    return MoondreamForConditionalGeneration, config


def phi3v() -> tuple[Any, Any]:
    from harness.families.phi3v import tiny
    from harness.families.phi3v.configuration import Phi3VConfig
    from harness.families.phi3v.modeling import Phi3VForCausalLM

    return Phi3VForCausalLM, Phi3VConfig.from_dict(tiny._fields("full", tiny.tokenizer("full")))


def llava_next() -> tuple[Any, Any]:
    text = MistralConfig(sliding_window=None, num_key_value_heads=8, intermediate_size=14336)
    return LlavaNextForConditionalGeneration, LlavaNextConfig(text_config=text.to_dict())


def mllama() -> tuple[Any, Any]:
    return MllamaForConditionalGeneration, MllamaConfig()


@pytest.mark.parametrize(
    ("make", "model_type", "most"),
    [
        (moondream, "moondream1", 840),
        (phi3v, "phi3_v", 1240),
        (llava_next, "llava_next", 1185),
        (mllama, "mllama", 1450),
    ],
)
def test_a_decode_step_launches_no_more_kernels(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], model_type: str, most: int
) -> None:
    """At full size: a step of a small batch takes the time of its launches."""
    architecture, config = make()
    with torch.device("meta"):
        model = architecture._from_config(config, dtype=torch.bfloat16).eval()
    runner = runner_for(model, family_of(model_type))
    assert runner is not None
    text = config.get_text_config()
    heads, width = text.num_key_value_heads, text.hidden_size // text.num_attention_heads
    prompts = DynamicCache()
    for layer in range(text.num_hidden_layers):
        length = 1025 if layer in runner.cross_attention_layers else 8
        keys = torch.zeros(1, heads, length, width, dtype=torch.bfloat16, device="meta")
        prompts.update(keys, keys.clone(), layer)
    step_inputs = {}
    if runner.cross_attention_layers:
        mask = torch.ones(1, 1, 1, 1, dtype=torch.long, device="meta")
        step_inputs["cross_attention_mask"] = mask
    cache = SlotCache(1, cross_attention_layers=runner.cross_attention_layers)
    step = DecodeStep(runner, cache)
    logits = torch.zeros(1, 10, device="meta")
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention_of_a_gpu)
    with torch.inference_mode():
        step.insert(range(1), Prefilled(logits, prompts, step_inputs), [8], capacity=1024)
        with Kernels() as kernels:
            step.run_eagerly(1, 1024)
    assert kernels.number <= most
