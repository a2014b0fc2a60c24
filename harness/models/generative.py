"""A model that generates text: prompts in, one answer each, the same whatever the batch.

What differs between families (templates, image tokens) is in their processors and in
`harness.families`; there are no family-specific copies of this loop.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from hashlib import sha256
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)

from harness.core.errors import NOT_FINITE, ContextError
from harness.core.types import LENGTH, STOP, Decoding, Output, Prompt
from harness.engine.cache_argument import kv_argument, kv_cache_of
from harness.engine.encoded_prompts import EncodedPrompt, collate, pixel_shapes
from harness.families.control_tokens import control_token_escaper
from harness.families.family import ModelFamily
from harness.models.choice_scoring import (
    append_token,
    best_option,
    flat_options,
    mean_log_likelihoods,
)
from harness.models.context_length import context_length, rope_switch_length
from harness.models.logits_processors import FiniteSteps, ForcedTokens, StopText
from harness.models.prompt_encoding import encode_text
from harness.models.prompt_format import PromptFormat

_NO_TOKEN = 1 << 30
"""An id that no vocabulary has."""


class GenerativeModel:
    """A decoder as a `harness.core.types.Model`, run by transformers' own `generate`."""

    engine = "transformers"

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        *,
        prompt_format: PromptFormat,
        device: str,
        family: ModelFamily,
    ) -> None:
        self.max_images = family.max_images
        self._family = family
        self._model = model
        self._processor = processor
        self._prompt_format = prompt_format
        self._escape = control_token_escaper(processor)
        self._device = torch.device(device)
        self._rope_switch_length = rope_switch_length(model.config.get_text_config())
        self.context = context_length(model.config)
        """Tokens of a prompt and its answer together; None: it is not known."""
        self._tokenizer = processor.tokenizer
        self._tokenizer.padding_side = "left"
        end_tokens = _end_tokens(model, self._tokenizer)
        pad = self._tokenizer.pad_token_id
        self._end_tokens = frozenset(end_tokens)
        self._pad = pad if pad is not None else end_tokens[0]
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._pad
        own = model.generation_config
        # The folder's own generation settings (sampling, penalties) are not the run's.
        self._generation_config = GenerationConfig(
            eos_token_id=end_tokens,
            pad_token_id=self._pad,
            bos_token_id=self._tokenizer.bos_token_id,
            # With these an encoder's decoder begins.
            decoder_start_token_id=getattr(own, "decoder_start_token_id", None),
            forced_bos_token_id=getattr(own, "forced_bos_token_id", None),
        )
        for module in model.modules():  # a language model within may have settings of its own
            if isinstance(module, PreTrainedModel) and module.can_generate():
                module.generation_config = self._generation_config

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model itself, for training."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """Pads on the left, and has a token to pad with."""
        return self._tokenizer

    @property
    def description(self) -> Mapping[str, Any]:
        return {
            "engine": self.engine,
            "class": type(self._model).__name__,
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._device),
            "device_map": _parameters_by_device(self._model),
            "attention": self._model.config._attn_implementation,  # noqa: SLF001  # no public name
            "context": self.context,
            "batches": self._batching,
            **self._family.describe(self._model),
            "template_rule": self._prompt_format.rule,
        }

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """See `harness.core.abilities.TemplatedModel`."""
        digest = sha256("\0".join(self._prompt_format.samples()).encode()).hexdigest()
        return {"template": f"sha256:{digest}", "template_rule": self._prompt_format.rule}

    @property
    def template_origin(self) -> str:
        """See `harness.core.abilities.TemplatedModel`."""
        return self._prompt_format.origin

    def prepare(self, prompts: Sequence[Prompt]) -> list[EncodedPrompt]:
        """Each prompt by itself: what it becomes depends on nothing else. Raises ContextError for
        one that is longer than the context."""
        return [self._check_length(self._encode(prompt)) for prompt in prompts]

    def count(self, prompt: Prompt) -> int:
        """See `harness.core.abilities.BoundedModel`."""
        return self._encode(prompt).length

    def _check_length(self, prompt: EncodedPrompt) -> EncodedPrompt:
        if self.context is not None and prompt.length > self.context:
            raise ContextError(prompt.length, self.context)
        return prompt

    def _encode(self, prompt: Prompt) -> EncodedPrompt:
        text = self._prompt_format(prompt) + self._escape(prompt.answer_prefix)
        return encode_text(self._processor, self._family, text, prompt.images)

    def _batch(self, prompts: Sequence[EncodedPrompt]) -> dict[str, torch.Tensor]:
        """Prompts as one batch, on the device; pixels in the model's dtype."""
        batch = collate(prompts, self._pad, left=not self._model.config.is_encoder_decoder)
        return {
            name: value.to(self._device, self._model.dtype if value.is_floating_point() else None)
            for name, value in batch.items()
        }

    @torch.inference_mode()
    def generate(self, prepared: Sequence[EncodedPrompt], decoding: Decoding) -> list[Output]:
        """One output per prompt, in the batch's order.

        Greedy answers do not depend on the batch (checked in float32); sampled ones depend on the
        seed and on the batch.
        """
        outputs: dict[int, Output] = {}
        for indices in self._batches(prepared):
            prompts = [prepared[index] for index in indices]
            outputs.update(zip(indices, self._generate(prompts, decoding), strict=True))
        return [outputs[index] for index in sorted(outputs)]

    def _batches(self, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """The indices of prompts that can be in one batch: most models take batches either with
        images or without. Where nobody has seen to it that the padding of pixels changes nothing,
        none is needed in a batch."""
        batches: dict[Hashable, list[int]] = {}
        for index, prompt in enumerate(prompts):
            shapes = None if self._family.pads_pixels else pixel_shapes(prompt.inputs)
            length = prompt.length if self._family.counts_padding else None
            batches.setdefault((bool(prompt.image_digest), shapes, length), []).append(index)
        return list(batches.values())

    @property
    def _batching(self) -> str:
        """Which prompts share a batch."""
        if self._family.counts_padding:
            return "prompts of one length"
        return "any prompts" if self._family.pads_pixels else "pictures of one shape"

    def _generate(self, prompts: Sequence[EncodedPrompt], decoding: Decoding) -> list[Output]:
        inputs = self._batch(prompts)
        finite = FiniteSteps(self._end_tokens)
        arguments: dict[str, Any] = {
            "do_sample": False,
            "logits_processor": LogitsProcessorList([finite]),
        }
        if decoding.temperature > 0:
            arguments |= {
                "do_sample": True,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p,
                "top_k": 0,
            }
        # What an encoder reads is not part of the output, which begins with a token of its own.
        in_output = 1 if self._model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        ended: dict[int, int] = {}
        if decoding.stop:
            stop = StopText(self._stop_text_check(decoding.stop), in_output, ended)
            arguments["stopping_criteria"] = StoppingCriteriaList([stop])
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(decoding.seed)
            sequences = self._call(
                **inputs, max_new_tokens=decoding.max_new_tokens, **arguments
            ).sequences
        generated = sequences[:, in_output:].tolist()  # (B, new); waits for the device
        finite_steps = finite.steps
        outputs = []
        for index, (prompt, ids) in enumerate(zip(prompts, generated, strict=True)):
            # After a row's end there is padding.
            ends = (i + 1 for i, token in enumerate(ids) if token in self._end_tokens)
            end = next(ends, len(ids))
            end = min(end, ended.get(index, end))
            if self.context is not None:
                end = min(end, self.context - prompt.length + 1)
            outputs.append(
                self._output(prompt, ids[:end], decoding)
                if end <= finite_steps[index]
                else Output("", prompt.text, None, None, error=NOT_FINITE)
            )
        return outputs

    def _stop_text_check(self, stop: str) -> Callable[[Sequence[int]], bool]:
        """A function that says whether generated tokens contain `stop`, to be called after every
        token."""
        # No token is shorter than a byte, so the end of `stop` is within its last tokens.
        longest = len(stop.encode()) + 1
        last = stop[-1] if stop[-1].isascii() and not stop[-1].isspace() else ""

        @cache
        def may_end(token: int) -> bool:
            return last in self._tokenizer.decode([token])

        def reached(tokens: Sequence[int]) -> bool:
            if not may_end(tokens[-1]):
                return False
            tail = self._tokenizer.decode(list(tokens[-longest:]), skip_special_tokens=True)
            return stop in tail

        return reached

    def _call(self, **arguments: Any) -> Any:
        """The library's `generate`, with the logits and the cache that it made."""
        generate: Callable[..., Any] = self._model.generate  # type: ignore[assignment]  # typed as a Tensor
        return generate(return_dict_in_generate=True, **arguments)

    def _output(self, prompt: EncodedPrompt, ids: Sequence[int], decoding: Decoding) -> Output:
        """What was generated after one prompt, up to and with its end token. What ends neither with
        such a token nor with the stop text was cut by the token limit."""
        raw = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        ended = ids[-1:] and ids[-1] in self._end_tokens
        stopped = bool(decoding.stop) and decoding.stop in raw
        return Output(
            raw=raw,
            prompt=prompt.text,
            tokens_in=prompt.length,
            tokens=len(ids),
            finish=STOP if ended or stopped else LENGTH,
        )

    @torch.inference_mode()
    def choose(
        self, prepared: Sequence[EncodedPrompt], options: Sequence[Sequence[str]]
    ) -> list[Output]:
        """For each prompt the most likely of its options, and the score of each.

        A score is the mean log-likelihood of the option's tokens right after the prompt. The
        prompt, with its image, is computed once and its cache shared by the options, which run as
        one batch. Nothing is generated: `tokens` is 0, `raw` the letter of the best option (the
        first of equals).
        """
        tokens = [
            [self._option_tokens(prompt.text, option) for option in each]
            for prompt, each in zip(prepared, options, strict=True)
        ]
        outputs = self._beyond_context(prepared, tokens)
        for batch in self._batches(prepared):
            indices = [index for index in batch if index not in outputs]
            if not indices:
                continue
            prompts, own = [prepared[i] for i in indices], [tokens[i] for i in indices]
            longest = max(len(option) for each in own for option in each)
            if any(self._passes_rope_switch(prompt, longest) for prompt in prompts):
                logits = self._option_logits_one_by_one(prompts, own)
            else:
                logits = self._option_logits(prompts, own)
            scores = mean_log_likelihoods(logits, own)
            for index, prompt, each_score in zip(indices, prompts, scores, strict=True):
                outputs[index] = best_option(prompt, each_score)
        return [outputs[index] for index in sorted(outputs)]

    def _beyond_context(
        self, prompts: Sequence[EncodedPrompt], options: Sequence[Sequence[Sequence[int]]]
    ) -> dict[int, Output]:
        """The indices of prompts that do not fit into the context with their options, and their
        error rows."""
        if self.context is None:
            return {}
        # The last token of an option is not run.
        lengths = [
            prompt.length + max(map(len, each)) - 1
            for prompt, each in zip(prompts, options, strict=True)
        ]
        return {
            index: Output(
                "", prompts[index].text, None, None, error=str(ContextError(n, self.context))
            )
            for index, n in enumerate(lengths)
            if n > self.context
        }

    def _passes_rope_switch(self, prompt: EncodedPrompt, more: int) -> bool:
        """Whether the KV cache of a prompt is void before so many tokens follow it."""
        limit = self._rope_switch_length
        return limit is not None and prompt.length <= limit < prompt.length + more - 1

    def _option_logits(
        self, prompts: Sequence[EncodedPrompt], options: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """The logits for each token of each option, (options, longest, V); all prompts have images,
        or none has."""
        longest = max(len(option) for each in options for option in each)
        if longest > 1 and not self._family.shares_prompt_cache:
            return self._option_logits_one_by_one(prompts, options)
        inputs = self._batch(prompts)
        prompt = self._call(**inputs, do_sample=False, max_new_tokens=1, output_logits=True)
        owner, padded = flat_options(options, self._device)
        logits = [prompt.logits[0][owner]]  # one (options, V) for each token
        if longest > 1:
            cache = kv_cache_of(prompt)
            cache.batch_select_indices(owner)
            following = append_token(inputs, owner, padded[:, :1])
            logits += self._forced_logits({**following, **kv_argument(cache)}, padded[:, 1:])
        return torch.stack(logits, dim=1)

    def _option_logits_one_by_one(
        self, prompts: Sequence[EncodedPrompt], options: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """The same, where options cannot share the KV cache of their prompt: it is no row for each
        prompt, or parts of the state are elsewhere. Each option is an answer of its own."""
        owner, padded = flat_options(options, self._device)
        rows = [
            torch.stack([*self._forced_logits(self._batch([prompts[index]]), tokens[None])], dim=1)
            for index, tokens in zip(owner.tolist(), padded, strict=True)
        ]
        return torch.cat(rows)

    def _forced_logits(
        self, inputs: Mapping[str, Any], tokens: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """The logits, (B, V), before each of the tokens that answers are made of, (B, n)."""
        settings = deepcopy(self._generation_config)
        settings.eos_token_id = _NO_TOKEN  # an option may hold a token that ends an answer
        settings.update(
            do_sample=False,
            max_new_tokens=tokens.shape[1],
            return_dict_in_generate=True,
            output_logits=True,
        )
        generate: Callable[..., Any] = self._model.generate  # type: ignore[assignment]  # typed as a Tensor
        made = generate(
            **inputs,
            generation_config=settings,
            logits_processor=LogitsProcessorList([ForcedTokens(tokens)]),
        )
        logits: Sequence[torch.Tensor] = made.logits
        return logits

    def _option_tokens(self, prompt: str, option: str) -> list[int]:
        """The tokens of `option` after `prompt`, with a space between where there is none."""
        tail = prompt[-40:]
        option = self._escape(option)
        option = option if tail[-1:].isspace() else f" {option}"
        before, both = (
            self._tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (tail, tail + option)
        )
        if both[: len(before)] == before and len(both) > len(before):
            return list(both[len(before) :])
        return list(self._tokenizer(option, add_special_tokens=False)["input_ids"])


def _parameters_by_device(model: PreTrainedModel) -> dict[str, int] | None:
    """Device -> parameters on it, where a device map spreads them; None where there is none."""
    placed: Mapping[str, Any] | None = getattr(model, "hf_device_map", None)
    if not placed:
        return None
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        places = [part for part in placed if not part or f"{name}.".startswith(f"{part}.")]
        device = placed[max(places, key=len)]
        label = f"cuda:{device}" if isinstance(device, int) else str(device)
        found[label] = found.get(label, 0) + parameter.numel()
    return found


def _end_tokens(model: PreTrainedModel, tokenizer: Any) -> list[int]:
    """Every token that ends an answer, as the checkpoint has it."""
    found: list[int] = []
    for source in (model.generation_config, model.config, model.config.get_text_config()):
        ends = getattr(source, "eos_token_id", None)
        if ends is not None:
            found = ends if isinstance(ends, list) else [ends]
            break
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in found:
        found = [*found, tokenizer.eos_token_id]
    if not all(isinstance(token, int) for token in found):
        raise ValueError(f"eos_token_id must be a token's number or several, not {found}")
    if not found:
        raise ValueError("neither the config nor the tokenizer names an end-of-sequence token")
    return list(found)
