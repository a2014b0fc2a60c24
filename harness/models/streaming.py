"""Generative models run by the decoding engine: the same answers as `generate` gives, sooner."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from transformers import Cache

from harness.core.abilities import TimedOutput
from harness.core.errors import SampleError, reason
from harness.core.types import Decoding, Output
from harness.engine.continuous_batching import Completion, Engine, StopConditions
from harness.engine.encoded_prompts import EncodedPrompt
from harness.engine.image_features import ImageFeatureCache
from harness.engine.memory import is_out_of_memory, peak_memory, release, slots_that_fit
from harness.engine.prefill import MAX_PREFILL_TOKENS
from harness.models.choice_scoring import flat_options
from harness.models.generative import GenerativeModel
from harness.models.model_runners import FamilyRunner

IMAGE_FEATURE_BYTES = 1 << 29
"""Image features are kept up to so many bytes."""


class StreamingModel(GenerativeModel):
    """A decoder with continuous batching: a finished answer makes room for the next prompt.

    Greedy decoding and the scoring of options are the engine's; sampling is left to `generate`,
    whose answers depend on the seed and on the batch.
    """

    engine = "harness"

    def __init__(self, *arguments: Any, runner: FamilyRunner, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._runner = runner
        self._features = ImageFeatureCache(IMAGE_FEATURE_BYTES)
        self.slots = 0
        """Slots that the last stream ended with: fewer than asked for where memory ran out."""

    def forget_images(self) -> None:
        """Drop all image features, as after a change of the vision encoder's weights."""
        self._features.clear()

    @property
    def runner(self) -> FamilyRunner:
        """Prefill and decode step of its family, for measurements."""
        return self._runner

    def stream(
        self,
        prepared: Iterator[tuple[int, Sequence[EncodedPrompt]]],
        decoding: Decoding,
        *,
        slots: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[TimedOutput]:
        """Greedy answers, each once it is complete; see `harness.core.abilities.StreamingModel`."""
        if decoding.temperature > 0:
            raise ValueError("a stream is greedy")
        each = ((number, prompt) for number, one in prepared for prompt in one)
        for done in self._run(each, decoding, slots=slots, clock=clock):
            yield TimedOutput(done.number, self._output_of(done, decoding), done.seconds)

    @torch.inference_mode()
    def slots_that_fit(self, prepared: Sequence[EncodedPrompt], decoding: Decoding) -> int:
        """How many slots to have: see `harness.core.abilities.StreamingModel`.

        The longest of the prompts is prefilled; its keys and values, with capacity for the answer
        and for a prompt a quarter longer, are what a slot takes. On an accelerator that many slots
        are then filled and take two decode steps; if they do not fit, half of them do. A prompt on
        which the model fails says nothing of the others, so that the next longest is tried; 1 where
        all of them fail, or the memory is too small for one.
        """
        for prompt in sorted(prepared, key=lambda prompt: prompt.length, reverse=True):
            try:
                return self._slots_that_fit(prompt, decoding)
            except Exception as error:  # noqa: BLE001  # here a bad sample becomes an error row, later
                release(self._device)
                if is_out_of_memory(error):
                    break
        return 1

    def _slots_that_fit(self, longest: EncodedPrompt, decoding: Decoding) -> int:
        before = peak_memory(self._device)
        features = self._features.of([longest], self._runner.encode_images)
        cache = self._runner.prefill([longest], features).cache
        spent = peak_memory(self._device) - before
        capacity = longest.length + longest.length // 4 + decoding.max_new_tokens
        layers = self._runner.cross_attention_layers
        per_token, per_prompt = cache_bytes(cache, longest.length, layers)
        del cache
        # The prefill of many prompts takes more than that of one.
        slots = slots_that_fit(
            self._device,
            bytes_per_slot=per_token * capacity + per_prompt,
            reserved=max(spent * MAX_PREFILL_TOKENS // longest.length, 0),
        )
        if self._device.type != "cuda":
            return slots
        copies = iter([(number, longest) for number in range(slots)])
        few = Decoding(max_new_tokens=3)
        for done in self._run(copies, few, slots=slots, capacity=capacity):
            if done.error is not None:
                raise done.error
        return self.slots

    def generate(self, prepared: Sequence[EncodedPrompt], decoding: Decoding) -> list[Output]:
        """One output per prompt, in order; greedy ones do not depend on the batch."""
        if decoding.temperature > 0:
            return super().generate(prepared, decoding)
        outputs: dict[int, Output] = {}
        for done in self._run(iter(enumerate(prepared)), decoding, slots=len(prepared)):
            if done.error is not None and not isinstance(done.error, SampleError):
                raise done.error
            outputs[done.number] = self._output_of(done, decoding)
        return [outputs[number] for number in sorted(outputs)]

    def _output_of(self, done: Completion, decoding: Decoding) -> Output:
        """The output of a finished request; or an error row."""
        if done.error is None:
            return self._output(done.prompt, done.tokens, decoding)
        return Output("", done.prompt.text, None, None, error=reason(done.error))

    def _run(
        self,
        prompts: Iterator[tuple[int, EncodedPrompt]],
        decoding: Decoding,
        *,
        slots: int,
        capacity: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[Completion]:
        engine = Engine(
            self._runner,
            slots=max(slots, 1),
            stop=StopConditions(
                decoding.max_new_tokens,
                self._end_tokens,
                self._stop_text_check(decoding.stop) if decoding.stop else None,
                self.context,
            ),
            features=self._features,
            capacity=capacity,
            clock=clock,
        )
        self.slots = engine.slots
        for done in engine.run(prompts):
            self.slots = engine.slots
            yield done

    def _option_logits(
        self, prompts: Sequence[EncodedPrompt], options: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """Logits of all tokens of all options, in one pass after the prompts' prefill."""
        features = self._features.of(prompts, self._runner.encode_images)
        logits, cache, step_inputs = self._runner.prefill(prompts, features)
        owner, padded = flat_options(options, self._device)
        first = logits[owner][:, None]  # (N, 1, V)
        if padded.shape[1] == 1:
            return first
        cache.batch_select_indices(owner)
        lengths = torch.tensor([prompt.length for prompt in prompts], device=self._device)[owner]
        repeated = {name: value[owner] for name, value in step_inputs.items()}
        following = self._runner.score(padded[:, :-1], lengths, cache, repeated)
        return torch.cat([first, following], dim=1)


def cache_bytes(cache: Cache, length: int, cross_attention: Collection[int]) -> tuple[int, int]:
    """Bytes that one prompt of this length holds in a KV cache: per token, and per prompt.

    Args:
        cross_attention: layers whose keys do not grow with the prompt.
    """
    per_token = per_prompt = 0
    layers: Sequence[Any] = cache.layers
    for index, layer in enumerate(layers):
        if not getattr(layer, "is_initialized", False):
            continue
        held = sum(t.numel() * t.element_size() for t in (layer.keys, layer.values))
        if index in cross_attention:
            per_prompt += held
        else:
            per_token += held // length
    return per_token, per_prompt
