"""A stand-in for the package vllm, which needs a GPU: the same names and signatures as its release
0.33 documents, and answers that are made up.

It is strict where the package is lenient: a keyword that `LLM`, `EngineArgs`, `LLM.chat` or
`SamplingParams` does not have is an error, and so is a message that is not as documented.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from PIL.Image import Image

ENGINE_ARGUMENTS = frozenset(
    {"max_model_len", "max_num_seqs", "max_num_batched_tokens", "limit_mm_per_prompt"}
    | {"load_format", "enable_prefix_caching", "kv_cache_dtype", "served_model_name", "enable_lora"}
)
"""Fields of EngineArgs that `LLM` takes in **kwargs, as far as anyone here could want them."""
ANSWER = "<SUMMARY> s </SUMMARY> <CONCLUSION> B </CONCLUSION> and on it goes"


class VLLMValidationError(Exception):
    """In 0.33 no ValueError any more."""


class EngineDeadError(Exception):
    pass


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: Any
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: Any
    outputs: list[CompletionOutput]
    finished: bool


@dataclass(kw_only=True)
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False


@dataclass
class Calls:
    """What the harness did with it."""

    engines: list[dict[str, Any]] = field(default_factory=list)
    """The arguments of each `LLM`."""
    chats: list[list[tuple[list[dict[str, Any]], SamplingParams]]] = field(default_factory=list)
    """For each call of `chat`, its conversations with their parameters."""
    templates: list[str | None] = field(default_factory=list)
    dies_at: int | None = None
    """The call of `chat`, from 0, at which the engine dies."""
    unsupported: bool = False
    answer: str = ANSWER


def install(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Put the stand-in in the place of the package; returns what is done with it."""
    calls = Calls()

    class LLM:
        def __init__(
            self,
            model: str,
            *,
            runner: str = "auto",
            convert: str = "auto",
            tokenizer: str | None = None,
            tokenizer_mode: str = "auto",
            skip_tokenizer_init: bool = False,
            trust_remote_code: bool = False,
            allowed_local_media_path: str = "",
            allowed_media_domains: list[str] | None = None,
            tensor_parallel_size: int = 1,
            dtype: str = "auto",
            quantization: str | None = None,
            revision: str | None = None,
            tokenizer_revision: str | None = None,
            chat_template: Any = None,
            seed: int = 0,
            gpu_memory_utilization: float = 0.92,
            cpu_offload_gb: float = 0,
            offload_group_size: int = 0,
            offload_num_in_group: int = 1,
            offload_prefetch_step: int = 1,
            offload_params: set[str] | None = None,
            enforce_eager: bool = False,
            enable_return_routed_experts: bool = False,
            return_sampling_mask: bool = False,
            disable_custom_all_reduce: bool = False,
            hf_token: bool | str | None = None,
            hf_overrides: Any = None,
            mm_processor_kwargs: dict[str, Any] | None = None,
            pooler_config: Any = None,
            structured_outputs_config: Any = None,
            profiler_config: Any = None,
            attention_config: Any = None,
            kv_cache_memory_bytes: int | None = None,
            compilation_config: Any = None,
            quantization_config: Any = None,
            logits_processors: Any = None,
            spec_method: str | None = None,
            spec_model: str | None = None,
            spec_tokens: int | None = None,
            **kwargs: Any,
        ) -> None:
            unknown = set(kwargs) - ENGINE_ARGUMENTS
            assert not unknown, f"EngineArgs has no {unknown}"
            if calls.unsupported:
                raise ValueError("Model architectures ['XForY'] are not supported for now.")
            assert trust_remote_code is False
            given = {"model": model, "dtype": dtype, "seed": seed, **kwargs}
            given |= {"tensor_parallel_size": tensor_parallel_size}
            given |= {"mm_processor_kwargs": mm_processor_kwargs}
            calls.engines.append(given)
            self._context = kwargs.get("max_model_len", 4096)
            self._images = kwargs["limit_mm_per_prompt"]["image"]

        def chat(  # noqa: PLR0917  # as the package has it
            self,
            messages: list[Any],
            sampling_params: Any = None,
            use_tqdm: bool = True,
            lora_request: Any = None,
            chat_template: str | None = None,
            chat_template_content_format: str = "auto",
            add_generation_prompt: bool = True,
            continue_final_message: bool = False,
            tools: Any = None,
            chat_template_kwargs: Any = None,
            tokenization_kwargs: Any = None,
            mm_processor_kwargs: Any = None,
        ) -> list[RequestOutput]:
            assert use_tqdm is False, "a bar of its own"
            assert chat_template_content_format in {"auto", "string", "openai"}
            assert len(sampling_params) == len(messages)
            assert len(set(map(id, sampling_params))) == len(messages), "vLLM writes to them"
            calls.chats.append(list(zip(messages, sampling_params, strict=True)))
            calls.templates.append(chat_template)
            if calls.dies_at is not None and len(calls.chats) > calls.dies_at:
                raise EngineDeadError("EngineCore encountered an issue.")
            prompts = [self._render(conversation) for conversation in messages]
            return [
                self._answer(number, prompt, parameters)
                for number, (prompt, parameters) in enumerate(
                    zip(prompts, sampling_params, strict=True)
                )
            ]

        def _render(self, conversation: list[dict[str, Any]]) -> str:
            parts = []
            for message in conversation:
                assert message["role"] in {"system", "user", "assistant"}
                for part in message["content"]:
                    assert set(part) == {"type", part["type"]}
                    if part["type"] == "text":
                        parts.append(part["text"])
                    else:
                        assert part["type"] == "image_pil"
                        assert isinstance(part["image_pil"], Image)
                        parts.append("<image>")
            assert parts.count("<image>") <= self._images
            prompt = " ".join(parts)
            if (length := len(prompt.split())) > self._context:
                raise VLLMValidationError(
                    f"You passed {length} input tokens and requested 0 output tokens. However, the "
                    f"model's context length is only {self._context} tokens, resulting in a "
                    f"maximum input length of {self._context} tokens. Please reduce the length of "
                    "the input prompt."
                )
            return prompt

        def _answer(self, number: int, prompt: str, how: SamplingParams) -> RequestOutput:
            words = calls.answer.split()
            assert how.max_tokens is not None
            text, finish = " ".join(words[: how.max_tokens]), "stop"
            if len(words) > how.max_tokens:
                finish = "length"
            for stop in how.stop or []:
                if stop in text:
                    end = text.index(stop) + (len(stop) if how.include_stop_str_in_output else 0)
                    text, finish = text[:end], "stop"
            tokens = list(range(len(text.split())))
            completion = CompletionOutput(0, text, tokens, None, None, finish)
            ids = list(range(len(prompt.split())))
            return RequestOutput(str(number), prompt, ids, None, [completion], finished=True)

    module = ModuleType("vllm")
    module.__version__ = "0.33.0"  # type: ignore[attr-defined]
    module.__path__ = []  # type: ignore[attr-defined]
    module.LLM, module.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    exceptions = ModuleType("vllm.exceptions")
    exceptions.VLLMValidationError = VLLMValidationError  # type: ignore[attr-defined]
    exceptions.EngineDeadError = EngineDeadError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.exceptions", exceptions)
    return calls
