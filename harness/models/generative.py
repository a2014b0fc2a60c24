"""A model that generates text: prompts in, one answer each, the same whatever the batch.

What differs between families (templates, image tokens) is in their processors and in
`harness.models.renderers`; there are no family-specific copies of this loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch
from transformers import (
    BatchFeature,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from harness.models.renderers import Renderer, neutraliser
from harness.types import Decoding, Output, Prompt


@dataclass(frozen=True, slots=True)
class Group:
    """The prompts of a batch that can be run together."""

    rows: tuple[int, ...]
    """Their places in the batch."""
    texts: tuple[str, ...]
    inputs: BatchFeature


class GenerativeModel:
    """A decoder behind the harness's `Model` protocol."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,
        *,
        render: Renderer,
        device: str,
        most_images: int | None = None,
    ) -> None:
        self.most_images = most_images
        self._model = model
        self._processor = processor
        self._render = render
        self._neutral = neutraliser(processor)
        self._device = torch.device(device)
        self._tokenizer = processor.tokenizer
        self._tokenizer.padding_side = "left"
        ends = _end_tokens(model, self._tokenizer)
        pad = self._tokenizer.pad_token_id
        self._ends = frozenset(ends)
        self._pad = pad if pad is not None else ends[0]
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._pad
        # The folder's own generation settings (sampling, penalties) are not the run's.
        model.generation_config = GenerationConfig(
            eos_token_id=ends,
            pad_token_id=self._pad,
            bos_token_id=self._tokenizer.bos_token_id,
        )

    @property
    def description(self) -> Mapping[str, Any]:
        return {
            "class": type(self._model).__name__,
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._device),
            "attention": self._model.config._attn_implementation,  # noqa: SLF001  # no public name
        }

    def prepare(self, prompts: Sequence[Prompt]) -> list[Group]:
        """Prompts with and without images are kept apart: most processors take either kind only."""
        groups = []
        for with_images in (True, False):
            rows = tuple(i for i, p in enumerate(prompts) if bool(p.images) is with_images)
            if rows:
                groups.append(self._encode(rows, [prompts[i] for i in rows]))
        return groups

    def _encode(self, rows: tuple[int, ...], prompts: Sequence[Prompt]) -> Group:
        texts = tuple(self._render(prompt) + self._neutral(prompt.begun) for prompt in prompts)
        bos = self._tokenizer.bos_token
        arguments: dict[str, Any] = {}
        if bos and texts[0].startswith(bos):
            arguments["add_special_tokens"] = False  # the template has put it there already
        images = [list(prompt.images) for prompt in prompts]
        inputs = self._processor(
            images=images if any(images) else None,
            text=list(texts),
            padding=True,
            return_tensors="pt",
            **arguments,
        )
        return Group(rows, texts, inputs)

    @torch.inference_mode()
    def generate(self, prepared: list[Group], decoding: Decoding) -> list[Output]:
        """One output per prompt, in the batch's order.

        Greedy answers do not depend on the batch (checked in float32); sampled ones depend on the
        seed and on the batch.
        """
        outputs: dict[int, Output] = {}
        for group in prepared:
            outputs.update(zip(group.rows, self._generate(group, decoding), strict=True))
        return [outputs[row] for row in sorted(outputs)]

    def _generate(self, group: Group, decoding: Decoding) -> list[Output]:
        inputs = group.inputs.to(self._device, dtype=self._model.dtype)
        arguments: dict[str, Any] = {"do_sample": False}
        if decoding.temperature > 0:
            arguments = {
                "do_sample": True,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p,
                "top_k": 0,
            }
        prompt_length = inputs["input_ids"].shape[1]
        if decoding.stop:
            arguments["stopping_criteria"] = StoppingCriteriaList(
                [_HasWritten(decoding.stop, self._tokenizer, prompt_length)]
            )
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(decoding.seed)
            sequences = self._call(
                **inputs, max_new_tokens=decoding.max_new_tokens, **arguments
            ).sequences
        generated = sequences[:, prompt_length:].tolist()  # (B, new); waits for the device
        return [
            self._output(text, ids, length)
            for text, ids, length in zip(group.texts, generated, _lengths(inputs), strict=True)
        ]

    def _call(self, **arguments: Any) -> Any:
        """The library's generate, with everything that it found out on the way."""
        generate: Callable[..., Any] = self._model.generate  # type: ignore[assignment]  # typed as a Tensor
        return generate(return_dict_in_generate=True, **arguments)

    def _output(self, text: str, ids: list[int], tokens_in: int) -> Output:
        """What one row generated, up to and with its end token; the rest is padding."""
        end = next((i + 1 for i, token in enumerate(ids) if token in self._ends), len(ids))
        while end and ids[end - 1] == self._pad and self._pad not in self._ends:
            end -= 1  # a row that was stopped before its end token
        raw = self._tokenizer.decode(
            ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return Output(raw=raw, prompt=text, tokens_in=tokens_in, tokens=end)

    @torch.inference_mode()
    def choose(self, prepared: list[Group], options: Sequence[Sequence[str]]) -> list[Output]:
        """For each prompt the most likely of its options, and the score of each.

        A score is the mean log-probability of the option's tokens right behind the prompt. The
        prompt, with its picture, is computed once and its cache shared by the options, which run
        as one batch. Nothing is generated: `tokens` is 0, `raw` the letter of the best option (the
        first of equals).
        """
        outputs: dict[int, Output] = {}
        for group in prepared:
            scores = self._score(group, [options[row] for row in group.rows])
            lengths = _lengths(group.inputs)
            for row, text, length, found in zip(
                group.rows, group.texts, lengths, scores, strict=True
            ):
                outputs[row] = Output(
                    raw=ascii_uppercase[found.index(max(found))],
                    prompt=text,
                    tokens_in=length,
                    tokens=0,
                    scores=tuple(found),
                )
        return [outputs[row] for row in sorted(outputs)]

    def _score(self, group: Group, options: Sequence[Sequence[str]]) -> list[list[float]]:
        """Mean log-probability per token of each option of each row."""
        tokens = [
            [self._continuation(text, option) for option in row]
            for text, row in zip(group.texts, options, strict=True)
        ]
        inputs = group.inputs.to(self._device, dtype=self._model.dtype)
        prompt = self._call(**inputs, do_sample=False, max_new_tokens=1, output_logits=True)
        # Every option as a row of its own: whose prompt it follows, and its tokens.
        owner = torch.tensor([i for i, row in enumerate(tokens) for _ in row], device=self._device)
        flat = [ids for row in tokens for ids in row]
        longest = max(map(len, flat))
        padded = torch.tensor(  # (options, longest)
            [ids + ids[-1:] * (longest - len(ids)) for ids in flat], device=self._device
        )
        logits = [prompt.logits[0][owner]]  # one (options, V) for each token
        if longest > 1:
            cache = prompt.past_key_values
            cache.batch_select_indices(owner)
            forced = self._call(
                **_continued(inputs, owner, padded[:, :1]),
                past_key_values=cache,
                do_sample=False,
                max_new_tokens=longest - 1,
                logits_processor=LogitsProcessorList([_Forced(padded[:, 1:])]),
                output_logits=True,
            )
            logits.extend(forced.logits)
        found = torch.stack(logits, dim=1).float().log_softmax(dim=-1)  # (options, longest, V)
        each = found.gather(2, padded[:, :, None]).squeeze(2).tolist()
        means = iter(sum(row[: len(ids)]) / len(ids) for row, ids in zip(each, flat, strict=True))
        return [[next(means) for _ in row] for row in tokens]

    def _continuation(self, prompt: str, option: str) -> list[int]:
        """The tokens of `option` behind `prompt`: with a space between where there is none."""
        tail = prompt[-40:]
        option = option if tail[-1:].isspace() else f" {option}"
        before, both = (
            self._tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (tail, tail + option)
        )
        if both[: len(before)] == before and len(both) > len(before):
            return list(both[len(before) :])
        return list(self._tokenizer(option, add_special_tokens=False)["input_ids"])


class _HasWritten(StoppingCriteria):
    """Ends each row as soon as the text that it generated contains `stop`."""

    def __init__(self, stop: str, tokenizer: Any, prompt_length: int) -> None:
        self._stop = stop
        self._tokenizer = tokenizer
        self._prompt_length = prompt_length

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.Tensor, **_: Any
    ) -> torch.BoolTensor:
        """(B, prompt + new) -> (B,)."""
        del scores
        # No token is shorter than a byte, so the end of `stop` is within its last tokens.
        start = max(self._prompt_length, input_ids.shape[1] - len(self._stop.encode()) - 1)
        ends = self._tokenizer.batch_decode(input_ids[:, start:], skip_special_tokens=True)
        done = torch.tensor([self._stop in end for end in ends], device=input_ids.device)
        return done  # type: ignore[return-value]  # a BoolTensor by its dtype


class _Forced(LogitsProcessor):
    """Makes generate write given tokens, (B, n): it is asked for their logits, not for its own."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self._tokens = iter(tokens.T)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(B, V) -> (B, V), all but the next token at minus infinity."""
        del input_ids
        forced = torch.full_like(scores, -torch.inf)
        forced.scatter_(1, next(self._tokens)[:, None], 0.0)
        return forced  # type: ignore[return-value]  # a FloatTensor by its dtype


def _lengths(inputs: BatchFeature) -> list[int]:
    """Tokens of each row, padding left out."""
    return [int(length) for length in inputs["attention_mask"].sum(dim=1).tolist()]


def _continued(inputs: BatchFeature, owner: torch.Tensor, tokens: torch.Tensor) -> dict[str, Any]:
    """The inputs of rows that follow the prompts `owner`, (N,), with one more token, (N, 1).

    What has a column for each token of the prompt is repeated into the new column; pixels are left
    out, because what the model saw is in the cache.
    """
    length = inputs["input_ids"].shape[1]
    made: dict[str, Any] = {}
    for name, value in inputs.items():
        per_token = isinstance(value, torch.Tensor) and value.shape[1:2] == (length,)
        if per_token and not name.startswith("pixel"):
            rows = value[owner]
            made[name] = torch.cat([rows, rows[:, -1:]], dim=1)
    made["input_ids"][:, -1:] = tokens
    return made


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
