"""Generative models run by the decoding engine: the same answers as `generate` gives, sooner."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import Cache

from harness.core.abilities import TimedOutput
from harness.core.errors import SampleError, reason
from harness.core.types import Decoding, Output
from harness.engine.budget import PassBudget, PassMemory, plan_slots
from harness.engine.compilation import CompiledDecode
from harness.engine.continuous_batching import Completion, Engine, StopConditions
from harness.engine.decode_step import Decode, decode
from harness.engine.encoded_prompts import EncodedPrompt
from harness.engine.image_features import ImageFeatureCache
from harness.engine.kv_cache import CACHE_BLOCK, GRAPH_BLOCK, capacity_for
from harness.engine.memory import attempt, free_memory, is_out_of_memory, release, spent
from harness.engine.vision_passes import VisionPasses
from harness.models.choice_scoring import flat_options
from harness.models.generative import GenerativeModel
from harness.models.model_runners import FamilyRunner

IMAGE_FEATURE_BYTES = 1 << 29
"""Image features are kept up to so many bytes."""
CACHE_FRACTION = 0.8
"""The fraction of the free memory that may be planned with; the rest is for what nobody has
measured."""
MAX_SLOTS = {"cuda": 128, "cpu": 32}
"""Slots beyond which a request does not get cheaper, by device type."""


class StreamingModel(GenerativeModel):
    """A decoder with continuous batching: a finished answer makes room for the next prompt.

    Greedy decoding and the scoring of options are the engine's; sampling is left to `generate`,
    whose answers depend on the seed and on the batch.
    """

    engine = "harness"

    def __init__(
        self, *arguments: Any, runner: FamilyRunner, compiles: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._runner = runner
        self.decode: Decode = decode
        """One decode step, as `harness.engine.decode_step.decode` or compiled."""
        if compiles:
            own_lengths = self._device.type == "cuda" and runner.takes_blocks
            self.decode = CompiledDecode(self._device, own_lengths=own_lengths)
        self._compiles = compiles
        self._features = ImageFeatureCache(IMAGE_FEATURE_BYTES)
        self._budget = PassBudget()
        self._capacity = 0
        self.slots = 0
        """Slots that the last stream ended with: fewer than asked for where memory ran out."""

    @property
    def description(self) -> Mapping[str, Any]:
        compiled = {"compiled": True} if self._compiles else {}
        return {**super().description, **compiled}

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

        The longest of the prompts is prefilled, and the one with most pixels; their keys and
        values, with capacity for the answer and for a prompt a quarter longer, are what a slot
        takes, and what the passes take is set aside for full ones. On an accelerator that many
        slots are then filled, after a full vision pass, and take two decode steps; if they do not
        fit, half of them do. A prompt on which the model fails says nothing of the others, so that
        the next longest is tried; 1 where all of them fail, or the memory is too small for one.
        """
        ordered = sorted(prepared, key=lambda prompt: prompt.length, reverse=True)
        for first, longest in enumerate(ordered):
            widest = max(ordered[first:], key=self._pixels)
            slots, error = attempt(partial(self._slots_that_fit, longest, widest, decoding))
            if error is None:
                return int(slots)
            release(self._device)
            if is_out_of_memory(error):
                break
        return 1

    def _pixels(self, prompt: EncodedPrompt) -> int:
        return self._runner.pixels(prompt) if prompt.image_digest else 0

    def _slots_that_fit(
        self, longest: EncodedPrompt, widest: EncodedPrompt, decoding: Decoding
    ) -> int:
        """The same, by the longest prompt and the one with most pixels."""
        accelerated = self._device.type == "cuda"
        capacity = capacity_for(
            longest.length + longest.length // 4 + decoding.max_new_tokens,
            held=0,
            block=GRAPH_BLOCK if accelerated else CACHE_BLOCK,
        )
        held, passes = self._measured(longest)
        if widest is not longest:
            also_held, also = self._measured(widest)
            held = max(held[0], also_held[0]), max(held[1], also_held[1])
            passes = replace(passes, pixels=also.pixels, vision_bytes=also.vision_bytes)
        slots, self._budget = plan_slots(
            int(free_memory(self._device) * CACHE_FRACTION),
            bytes_per_slot=held[0] * capacity + held[1],
            passes=passes,
            kept=IMAGE_FEATURE_BYTES if accelerated else 0,
            limit=MAX_SLOTS.get(self._device.type, MAX_SLOTS["cuda"]),
        )
        if accelerated:
            self._capacity = capacity
            self._fill(widest, slots)
            slots = self.slots
        return slots

    def _measured(self, prompt: EncodedPrompt) -> tuple[tuple[int, int], PassMemory]:
        """What a prompt holds in the KV cache, per token and besides, and what its passes take."""
        runner, pixels = self._runner, self._pixels(prompt)
        features: list[torch.Tensor | None] = [None]
        vision_bytes = 0
        if prompt.image_digest:
            features, vision_bytes = spent(self._device, lambda: [*runner.encode_images([prompt])])
        found, prefill_bytes = spent(self._device, lambda: runner.prefill([prompt], features))
        passes = PassMemory(
            tokens=prompt.length,
            prefill_bytes=prefill_bytes,
            pixels=pixels,
            vision_bytes=vision_bytes,
        )
        layers = runner.cross_attention_layers
        per_token, per_prompt = cache_bytes(found.cache, prompt.length, layers)
        return (per_token, int(per_prompt * runner.image_growth(prompt))), passes

    def _fill(self, prompt: EncodedPrompt, slots: int) -> None:
        """Run so many copies of a prompt for two decode steps. The first have images of their own,
        as many as a full vision pass holds."""
        pixels = self._pixels(prompt)
        images = max(1, self._budget.pixels // pixels) if pixels else 1
        copies = (
            replace(prompt, image_digest=f"{number % images}") if pixels else prompt
            for number in range(slots)
        )
        try:
            for done in self._run(enumerate(copies), Decoding(max_new_tokens=3), slots=slots):
                if done.error is not None:
                    raise done.error
        finally:
            self._features.clear()  # those digests are of no image

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
            capacity=self._capacity,
            budget=self._budget,
            decode=self.decode,
            clock=clock,
        )
        self.slots = engine.slots
        for done in engine.run(prompts):
            self.slots, self._budget = engine.slots, engine.budget
            yield done

    def _option_logits(
        self, prompts: Sequence[EncodedPrompt], options: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """Logits of all tokens of all options, in one pass after the prompts' prefill."""
        vision = VisionPasses(self._runner, self._features, max_pixels=self._budget.pixels)
        features = vision.of(prompts)
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
