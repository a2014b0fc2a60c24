"""A model that generates text: prompts in, one answer each, the same whatever the batch.

What differs between families (templates, image tokens) is in their processors and in
`harness.models.renderers`; there are no family-specific copies of this loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from hashlib import sha256
from math import isfinite
from string import ascii_uppercase
from typing import Any

import torch
from PIL.Image import Image
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from harness.checkpoints.checkpoint import VISION_STATE
from harness.core.errors import NOT_FINITE, ContextError
from harness.core.types import LENGTH, STOP, Decoding, Output, Prompt
from harness.engine.rows import Row, per_token, stack
from harness.models.kv_cache import kv_argument, kv_cache_of
from harness.models.readers import border_of, context_of
from harness.models.renderers import Renderer, neutraliser


class GenerativeModel:
    """A decoder behind the harness's `Model` protocol, run by transformers' own `generate`."""

    engine = "transformers"

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
        self._border = border_of(model.config.get_text_config())
        self.context = context_of(model.config)
        """Tokens of a prompt and its answer together; None: it is not known."""
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
    def network(self) -> PreTrainedModel:
        """The model itself, for who trains it."""
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
            "device_map": _spread(self._model),
            "attention": self._model.config._attn_implementation,  # noqa: SLF001  # no public name
            "context": self.context,
            **self._vision_features(),
            "template_rule": self._render.rule,
        }

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """See `harness.core.types.Rendering`."""
        digest = sha256("\0".join(self._render.samples()).encode()).hexdigest()
        return {"template": f"sha256:{digest}", "template_rule": self._render.rule}

    def _vision_features(self) -> Mapping[str, str]:
        """Of Mllama, which hidden state of the chosen vision layers is a feature."""
        vision = getattr(self._model.config, "vision_config", None)
        state = getattr(vision, VISION_STATE, None)
        return {"vision_features": f"state {state} layer"} if state else {}

    def prepare(self, prompts: Sequence[Prompt]) -> list[Row]:
        """Each prompt by itself: what it becomes depends on nothing else. Raises ContextError for
        one that is longer than the context."""
        return [self._fitting(self._encode(prompt)) for prompt in prompts]

    def count(self, prompt: Prompt) -> int:
        """See `harness.core.types.Bounded`."""
        return self._encode(prompt).length

    def _fitting(self, row: Row) -> Row:
        if self.context is not None and row.length > self.context:
            raise ContextError(row.length, self.context)
        return row

    def _encode(self, prompt: Prompt) -> Row:
        text = self._render(prompt) + self._neutral(prompt.begun)
        bos = self._tokenizer.bos_token
        arguments: dict[str, Any] = {}
        if bos and text.startswith(bos):
            arguments["add_special_tokens"] = False  # the template has put it there already
        inputs = self._processor(
            images=[list(prompt.images)] if prompt.images else None,
            text=[text],
            padding=True,
            return_tensors="pt",
            **arguments,
        )
        return Row(text, dict(inputs), _digest(prompt.images))

    def _batch(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Rows as one batch, on the device; pixels in the model's dtype."""
        return {
            name: value.to(self._device, self._model.dtype if value.is_floating_point() else None)
            for name, value in stack(rows, self._pad).items()
        }

    @torch.inference_mode()
    def generate(self, prepared: Sequence[Row], decoding: Decoding) -> list[Output]:
        """One output per prompt, in the batch's order.

        Greedy answers do not depend on the batch (checked in float32); sampled ones depend on the
        seed and on the batch.
        """
        outputs: dict[int, Output] = {}
        for places in _apart(prepared):
            rows = [prepared[place] for place in places]
            outputs.update(zip(places, self._generate(rows, decoding), strict=True))
        return [outputs[place] for place in sorted(outputs)]

    def _generate(self, rows: Sequence[Row], decoding: Decoding) -> list[Output]:
        inputs = self._batch(rows)
        finite = _Finite(self._ends)
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
        prompt_length = inputs["input_ids"].shape[1]
        ended: dict[int, int] = {}
        if decoding.stop:
            stopper = _Stopper(self._has_written(decoding.stop), prompt_length, ended)
            arguments["stopping_criteria"] = StoppingCriteriaList([stopper])
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(decoding.seed)
            sequences = self._call(
                **inputs, max_new_tokens=decoding.max_new_tokens, **arguments
            ).sequences
        generated = sequences[:, prompt_length:].tolist()  # (B, new); waits for the device
        whole = finite.steps
        outputs = []
        for place, (row, ids) in enumerate(zip(rows, generated, strict=True)):
            # Behind a row's end there is padding.
            end = next((i + 1 for i, token in enumerate(ids) if token in self._ends), len(ids))
            end = min(end, ended.get(place, end))
            if self.context is not None:
                end = min(end, self.context - row.length + 1)
            outputs.append(
                self._output(row, ids[:end], decoding)
                if end <= whole[place]
                else Output("", row.text, None, None, error=NOT_FINITE)
            )
        return outputs

    def _has_written(self, stop: str) -> Callable[[Sequence[int]], bool]:
        """Whether what a row has written contains `stop`; to be asked after every token."""
        # No token is shorter than a byte, so the end of `stop` is within its last tokens.
        most = len(stop.encode()) + 1
        last = stop[-1] if stop[-1].isascii() and not stop[-1].isspace() else ""

        @cache
        def may_end(token: int) -> bool:
            return last in self._tokenizer.decode([token])

        def has_written(tokens: Sequence[int]) -> bool:
            if not may_end(tokens[-1]):
                return False
            tail = self._tokenizer.decode(list(tokens[-most:]), skip_special_tokens=True)
            return stop in tail

        return has_written

    def _call(self, **arguments: Any) -> Any:
        """The library's generate, with everything that it found out on the way."""
        generate: Callable[..., Any] = self._model.generate  # type: ignore[assignment]  # typed as a Tensor
        return generate(return_dict_in_generate=True, **arguments)

    def _output(self, row: Row, ids: Sequence[int], decoding: Decoding) -> Output:
        """What one row generated, up to and with its end token. What ends neither with such a
        token nor with the stop text was cut by the token limit."""
        raw = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        ended = ids[-1:] and ids[-1] in self._ends
        stopped = bool(decoding.stop) and decoding.stop in raw
        return Output(
            raw=raw,
            prompt=row.text,
            tokens_in=row.length,
            tokens=len(ids),
            finish=STOP if ended or stopped else LENGTH,
        )

    @torch.inference_mode()
    def choose(self, prepared: Sequence[Row], options: Sequence[Sequence[str]]) -> list[Output]:
        """For each prompt the most likely of its options, and the score of each.

        A score is the mean log-probability of the option's tokens right behind the prompt. The
        prompt, with its picture, is computed once and its cache shared by the options, which run
        as one batch. Nothing is generated: `tokens` is 0, `raw` the letter of the best option (the
        first of equals).
        """
        found = [
            [self._continuation(row.text, option) for option in each]
            for row, each in zip(prepared, options, strict=True)
        ]
        outputs = self._beyond_context(prepared, found)
        for kind in _apart(prepared):
            places = [place for place in kind if place not in outputs]
            if not places:
                continue
            rows, tokens = [prepared[p] for p in places], [found[p] for p in places]
            longest = max(len(option) for row in tokens for option in row)
            if any(self._crosses(row, longest) for row in rows):
                logits = self._logits_one_by_one(rows, tokens)
            else:
                logits = self._logits(rows, tokens)
            for place, row, scores in zip(places, rows, _means(logits, tokens), strict=True):
                outputs[place] = _choice(row, scores)
        return [outputs[place] for place in sorted(outputs)]

    def _beyond_context(
        self, rows: Sequence[Row], options: Sequence[Sequence[Sequence[int]]]
    ) -> dict[int, Output]:
        """The places of prompts that do not fit into the context with their options, and why."""
        if self.context is None:
            return {}
        # An option's last token is not read.
        lengths = [
            row.length + max(map(len, each)) - 1 for row, each in zip(rows, options, strict=True)
        ]
        return {
            place: Output(
                "", rows[place].text, None, None, error=str(ContextError(n, self.context))
            )
            for place, n in enumerate(lengths)
            if n > self.context
        }

    def _crosses(self, row: Row, more: int) -> bool:
        """Whether the cache of a row is void before so many tokens are behind it."""
        return self._border is not None and row.length <= self._border < row.length + more - 1

    def _logits(
        self, rows: Sequence[Row], tokens: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """What the model gives in place of each token of each option, (options, longest, V); all
        rows have pictures, or none has."""
        inputs = self._batch(rows)
        prompt = self._call(**inputs, do_sample=False, max_new_tokens=1, output_logits=True)
        owner, padded = flat_options(tokens, self._device)
        logits = [prompt.logits[0][owner]]  # one (options, V) for each token
        longest = padded.shape[1]
        if longest > 1:
            cache = kv_cache_of(prompt)
            cache.batch_select_indices(owner)
            forced = self._call(
                **_continued(inputs, owner, padded[:, :1]),
                **kv_argument(cache),
                do_sample=False,
                max_new_tokens=longest - 1,
                logits_processor=LogitsProcessorList([_Forced(padded[:, 1:])]),
                output_logits=True,
            )
            logits.extend(forced.logits)
        return torch.stack(logits, dim=1)

    def _logits_one_by_one(
        self, rows: Sequence[Row], tokens: Sequence[Sequence[Sequence[int]]]
    ) -> torch.Tensor:
        """The same without a cache: prompt, pictures and all are read anew for each token."""
        owner, padded = flat_options(tokens, self._device)
        logits = []
        for known in range(padded.shape[1]):
            grown = [
                rows[place].extended(option[:known])
                for place, option in zip(owner.tolist(), padded.tolist(), strict=True)
            ]
            read = [
                self._call(
                    **self._batch([row]), do_sample=False, max_new_tokens=1, output_logits=True
                ).logits[0]
                for row in grown
            ]
            logits.append(torch.cat(read))
        return torch.stack(logits, dim=1)

    def _continuation(self, prompt: str, option: str) -> list[int]:
        """The tokens of `option` behind `prompt`: with a space between where there is none."""
        tail = prompt[-40:]
        option = self._neutral(option)
        option = option if tail[-1:].isspace() else f" {option}"
        before, both = (
            self._tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (tail, tail + option)
        )
        if both[: len(before)] == before and len(both) > len(before):
            return list(both[len(before) :])
        return list(self._tokenizer(option, add_special_tokens=False)["input_ids"])


def _choice(row: Row, scores: Sequence[float]) -> Output:
    """The option that is scored highest, the first of equals."""
    if not all(map(isfinite, scores)):
        return Output("", row.text, None, None, error=NOT_FINITE)
    return Output(
        raw=ascii_uppercase[scores.index(max(scores))],
        prompt=row.text,
        tokens_in=row.length,
        tokens=0,
        scores=tuple(scores),
    )


def flat_options(
    tokens: Sequence[Sequence[Sequence[int]]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every option as a row of its own: whose prompt it follows, (N,), and its tokens, padded with
    its last one, (N, longest)."""
    owner = [place for place, options in enumerate(tokens) for _ in options]
    flat = [list(option) for options in tokens for option in options]
    longest = max(map(len, flat))
    padded = [option + option[-1:] * (longest - len(option)) for option in flat]
    return torch.tensor(owner, device=device), torch.tensor(padded, device=device)


def _means(logits: torch.Tensor, tokens: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
    """The mean log-probability of each option's own tokens; `logits` is (N, longest, V)."""
    _, padded = flat_options(tokens, logits.device)
    found = logits.float().log_softmax(dim=-1)
    each = iter(found.gather(2, padded[:, :, None]).squeeze(2).tolist())
    return [
        [sum(next(each)[: len(option)]) / len(option) for option in options] for options in tokens
    ]


class _Stopper(StoppingCriteria):
    """Ends each row as soon as it has written the text that ends an answer."""

    def __init__(
        self,
        has_written: Callable[[Sequence[int]], bool],
        prompt_length: int,
        ended: dict[int, int],
    ) -> None:
        self._has_written = has_written
        self._prompt_length = prompt_length
        self._ended = ended
        """Row -> tokens that it had written when it ended."""

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.Tensor, **_: Any
    ) -> torch.BoolTensor:
        """(B, prompt + new) -> (B,)."""
        del scores
        written = input_ids[:, self._prompt_length :].tolist()
        done = [self._has_written(tokens) for tokens in written]
        for place, stopped in enumerate(done):
            if stopped:
                self._ended.setdefault(place, len(written[place]))
        flags = torch.tensor(done, device=input_ids.device)
        return flags  # type: ignore[return-value]  # a BoolTensor by its dtype


class _Finite(LogitsProcessor):
    """Counts the steps of each row until its logits are not all finite, and ends the row there.
    Sampling from such logits would fail for the whole batch."""

    def __init__(self, ends: Collection[int]) -> None:
        self._end = min(ends)
        self._alive: torch.Tensor | None = None  # (B,) of bool
        self._steps: torch.Tensor | None = None  # (B,)

    @property
    def steps(self) -> list[int]:
        """Of each row; waits for the device."""
        return [] if self._steps is None else self._steps.tolist()

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(B, V) -> (B, V), a row that is not finite as one that ends."""
        del input_ids
        finite = scores.isfinite().all(dim=-1)
        self._alive = finite if self._alive is None else self._alive & finite
        taken = self._alive.long()
        self._steps = taken if self._steps is None else self._steps + taken
        ended = torch.full_like(scores, -torch.inf)
        ended[:, self._end] = 0.0
        return torch.where(finite[:, None], scores, ended)  # type: ignore[return-value]  # a FloatTensor by its dtype


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


def _spread(model: PreTrainedModel) -> dict[str, int] | None:
    """Device -> parameters that lie on it, where the library was asked to spread them."""
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


def _apart(rows: Sequence[Row]) -> list[list[int]]:
    """The places of rows with pictures, and of those without: most models take either kind only."""
    places = range(len(rows))
    kinds = ([i for i in places if bool(rows[i].pictures) is kind] for kind in (True, False))
    return [kind for kind in kinds if kind]


def _digest(images: Sequence[Image]) -> str:
    """What tells pictures apart, seen as they are decoded; empty where there are none."""
    digest = sha256()
    for image in images:
        digest.update(f"{image.mode} {image.size}".encode())
        digest.update(image.tobytes())
    return digest.hexdigest() if images else ""


def _continued(
    inputs: Mapping[str, torch.Tensor], owner: torch.Tensor, tokens: torch.Tensor
) -> dict[str, Any]:
    """The inputs of rows that follow the prompts `owner`, (N,), with one more token, (N, 1).

    What has a column for each token of the prompt is repeated into the new column; pixels are left
    out, because what the model saw is in the cache.
    """
    made: dict[str, Any] = {}
    for name in per_token(inputs):
        rows = inputs[name][owner]
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
