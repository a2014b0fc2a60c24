"""vLLM in this process: `--engine vllm`.

Written against what vLLM documents of `LLM`, `LLM.chat`, `SamplingParams` and `RequestOutput`, and
tried with a stand-in that has their signatures: not yet with vLLM itself, nor on a GPU.

A question is one user turn, its pictures and then its text, in the chat template that the other
engines use. Its answers may differ from theirs all the same: vLLM has kernels and image processors
of its own, and what it computes depends on what else is in the batch. So a run of it is resumed
with vLLM alone.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.checkpoints.quantized import dequantized
from harness.core import processes
from harness.core.errors import ContextError, Exit, HarnessError, no_likelihood, reason
from harness.core.image_marks import in_order
from harness.core.options import ModelOptions
from harness.core.types import STOP, Decoding, Model, Output, Prompt
from harness.sources.source import Capabilities
from harness.sources.weights import Weights

if TYPE_CHECKING:
    from harness.models.prompt_format import PromptFormat

ENGINE = "vllm"
INSTALL = "pip install 'harness-vlm[vllm]'"
BATCH = 128
"""Questions that are handed over at once by default; vLLM's scheduler makes its own batches."""
IMAGES = 8
"""Pictures that a question may have, unless `limit_mm_per_prompt` says another number."""
ARGUMENTS = frozenset(
    {"max_model_len", "gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_offload_gb"}
    | {"tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "enforce_eager"}
    | {"limit_mm_per_prompt"}
)
"""What --engine-arg may set: how much memory and how many devices vLLM takes. What else decides an
answer has an option of its own, and nothing makes it run code of a checkpoint or unpickle."""

_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "lora": "--adapter: vLLM would apply a LoRA adapter to the language model alone.",
        "quantize": "--quantize: vLLM gets the weights as they are.",
        "device_map": "--device-map: vLLM spreads a model by itself.",
        "attention": "--attn: vLLM chooses its own attention kernel.",
    }
)
"""Field of `ModelOptions` -> why it does not go with vLLM."""
_INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "lora": "Merge it once and for all with peft's merge_and_unload, and save that.",
        "device_map": "--engine-arg tensor_parallel_size=N, over N devices.",
    }
)
"""What helps; --engine harness helps always."""


class Vllm(Weights):
    """A checkpoint that vLLM loads and runs."""

    capabilities = Capabilities(
        log_likelihoods=False,
        counts_tokens=False,
        concurrency=BATCH,
        prepares_ahead=False,
        measures_memory=False,  # vLLM computes in a process of its own
    )
    place = "vLLM"

    def __init__(self, options: ModelOptions) -> None:
        """Raises HarnessError: vLLM is not installed, or does not take these options."""
        _check(options)
        super().__init__(options)

    @classmethod
    def answers(cls, options: ModelOptions) -> bool:
        """`--engine vllm`."""
        return options.engine == ENGINE

    @property
    def settings(self) -> Mapping[str, Any]:
        return {**super().settings, "attention": "vLLM's choice", "engine": ENGINE}

    @property
    def devices(self) -> int:
        return int(self.options.engine_args.get("tensor_parallel_size", 1))

    @property
    def max_images(self) -> int | None:
        """As many as the family takes, and as vLLM is told to expect."""
        own, expected = super().max_images, _images(self.options)
        return expected if own is None else min(own, expected)

    def load(self) -> Model:
        """The model; vLLM starts on the first call."""
        if self._model is None:
            started = time.perf_counter()
            words = self._prompt_format()
            arguments = {
                "dtype": self.dtype,
                "seed": 0,
                "trust_remote_code": False,
                "load_format": "safetensors",  # nothing is unpickled
                "limit_mm_per_prompt": {"image": _images(self.options)},
                **self.options.engine_args,
            }
            if self.options.processor_args:
                arguments["mm_processor_kwargs"] = dict(self.options.processor_args)
            self._model = VllmModel(
                _start(self.checkpoint.folder, arguments),
                words,
                max_images=self.max_images,
                description={
                    "engine": ENGINE,
                    "class": "vllm.LLM",
                    "vllm": _module().__version__,
                    "engine_arguments": arguments,
                    "parameters": None,
                    "dtype": self.dtype,
                    "device": self.device,
                    "device_map": None,
                    "attention": None,
                    "template_rule": words.rule,
                },
            )
            self.load_seconds = time.perf_counter() - started
        return self._model

    def _prompt_format(self) -> PromptFormat:
        """The template and the words of a prompt; raises HarnessError where there is no template
        that vLLM could be given."""
        from harness.models.loading import load_prompt_text
        from harness.models.prompt_format import PromptFormat

        words = load_prompt_text(self.checkpoint, self.options.processor_args, self.template)
        if not isinstance(words, PromptFormat) or words.template is None:
            raise HarnessError(
                f"--engine vllm asks by a chat template, and {self.checkpoint.name} has none: its "
                "prompt is worded by its family.",
                remedy="--engine harness",
            )
        return words


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, ready for vLLM."""

    messages: list[dict[str, Any]]
    text: str
    """As the other engines' tokenizer gets it."""


class VllmModel:
    """One model in vLLM, as a `harness.core.types.Model`."""

    def __init__(
        self,
        llm: Any,
        words: PromptFormat,
        *,
        max_images: int | None,
        description: Mapping[str, Any],
    ) -> None:
        self.max_images = max_images
        self.description = description
        self._llm = llm
        self._words = words
        self._refusals: tuple[type[Exception], ...] = (ValueError, *_errors("VLLMValidationError"))
        self._deaths = _errors("EngineDeadError")

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """See `harness.core.abilities.TemplatedModel`."""
        digest = sha256("\0".join(self._words.samples()).encode()).hexdigest()
        return {"template": f"sha256:{digest}", "template_rule": self._words.rule}

    @property
    def template_origin(self) -> str:
        """See `harness.core.abilities.TemplatedModel`."""
        return self._words.origin

    def prepare(self, prompts: Sequence[Prompt]) -> list[Question]:
        """Raises HarnessError for a prompt with an answer prefix, which --conclude alone makes."""
        return [self._prepare(prompt) for prompt in prompts]

    def _prepare(self, prompt: Prompt) -> Question:
        if prompt.answer_prefix:
            raise no_likelihood("--conclude", Vllm.place, instead="--engine harness")
        pictures = [{"type": "image_pil", "image_pil": image} for image in prompt.images]
        parts = in_order(self._words.message(prompt), pictures)
        content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
        return Question([{"role": "user", "content": content}], self._words(prompt))

    def generate(self, prepared: Sequence[Question], decoding: Decoding) -> list[Output]:
        """One output per question, in order; all of them are handed over at once.

        Raises:
            HarnessError: vLLM has died.
        """
        parameters = [self._parameters(decoding, row) for row in range(len(prepared))]
        try:
            return self._generate(prepared, parameters, decoding)
        except self._deaths as error:
            raise HarnessError(
                "vLLM has stopped working.",
                known=reason(error)[:500],
                remedy="What was answered is kept: re-run the same command to resume. Where the "
                "memory is too small, --engine-arg max_model_len=N needs less of it.",
                code=Exit.UNEXPECTED,
            ) from error

    def _parameters(self, decoding: Decoding, row: int) -> Any:
        """Greedy, or sampled with a seed of its own for each row."""
        arguments: dict[str, Any] = {
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            "spaces_between_special_tokens": False,
        }
        if decoding.temperature > 0:
            arguments |= {"top_p": decoding.top_p, "seed": (decoding.seed + row) % 2**31}
        if decoding.stop:
            arguments |= {"stop": [decoding.stop], "include_stop_str_in_output": True}
        return _module().SamplingParams(**arguments)

    def _generate(
        self, questions: Sequence[Question], parameters: Sequence[Any], decoding: Decoding
    ) -> list[Output]:
        """The outputs. vLLM refuses a whole batch for one question in it: such a batch is halved
        until that question is alone, and its output has the error."""
        try:
            replies = self._llm.chat(
                [question.messages for question in questions],
                sampling_params=list(parameters),
                use_tqdm=False,
                chat_template=self._words.template,
                chat_template_content_format="openai",  # a list of parts, as here
                add_generation_prompt=True,
            )
        except self._refusals as error:
            if len(questions) == 1:
                return [Output("", questions[0].text, None, None, error=_why(error))]
            middle = len(questions) // 2
            first = self._generate(questions[:middle], parameters[:middle], decoding)
            return first + self._generate(questions[middle:], parameters[middle:], decoding)
        return [
            _output(question, reply, decoding)
            for question, reply in zip(questions, replies, strict=True)
        ]

    def choose(self, prepared: Any, options: Sequence[Sequence[str]]) -> list[Output]:
        """Raises HarnessError: `Capabilities.log_likelihoods`."""
        del prepared, options
        raise no_likelihood("Choosing by log-likelihood", Vllm.place, instead="--engine harness")


def _output(question: Question, reply: Any, decoding: Decoding) -> Output:
    """What vLLM answered, up to and with the stop text."""
    (completion,) = reply.outputs
    raw, finish = completion.text, completion.finish_reason or ""
    if decoding.stop and decoding.stop in raw:
        raw, finish = raw[: raw.index(decoding.stop) + len(decoding.stop)], STOP
    return Output(
        raw=raw,
        prompt=reply.prompt or question.text,
        tokens_in=len(reply.prompt_token_ids) if reply.prompt_token_ids is not None else None,
        tokens=len(completion.token_ids),
        finish=finish,
    )


_TOO_LONG = (
    re.compile(r"prompt \(length (?P<tokens>\d+)\) is longer than .*? length of (?P<limit>\d+)"),
    re.compile(r"passed (?P<tokens>\d+) input tokens .* context length is only (?P<limit>\d+)"),
    re.compile(r"context length is (?P<limit>\d+) tokens.*?(?P<tokens>\d+) (?:input )?tokens"),
    re.compile(r"context length is (?:only )?(?P<limit>\d+)(?P<tokens>)"),
)
"""How vLLM says that a prompt is beyond the model's context."""


def _why(error: Exception) -> str:
    """Why a question has no answer; one that is too long in the words of the other engines."""
    text = " ".join(str(error).split())
    for pattern in _TOO_LONG:
        if found := pattern.search(text):
            limit = int(found["limit"])
            return str(ContextError(int(found["tokens"] or limit + 1), limit))
    return f"{type(error).__name__}: {text}"


def _check(options: ModelOptions) -> None:
    """Refuse what cannot be run, before anything is fetched or loaded."""
    if ENGINE not in sys.modules and find_spec(ENGINE) is None:
        raise HarnessError(
            "--engine vllm needs vLLM, which is not installed.",
            remedy=INSTALL,
            code=Exit.MISSING,
        )
    if processes.here().processes > 1:
        raise HarnessError(
            "--engine vllm: one process runs vLLM, and there are several.",
            remedy="Start one process; --engine-arg tensor_parallel_size=N spreads the model over "
            "N devices.",
        )
    for field, what in _REFUSED.items():
        if getattr(options, field):
            raise HarnessError(what, remedy=_INSTEAD.get(field, "--engine harness"))
    if options.device != "auto":
        raise HarnessError(
            f"--device {options.device}: vLLM runs where it was built for.",
            remedy="Leave it out; CUDA_VISIBLE_DEVICES chooses among several devices.",
        )
    if unknown := sorted(set(options.engine_args) - ARGUMENTS):
        raise HarnessError(
            f"--engine-arg {unknown[0]}: it is none that can be set.",
            known=f"There are {', '.join(sorted(ARGUMENTS))}.",
        )
    _images(options)
    for name, value in options.engine_args.items():
        if isinstance(value, str):
            raise HarnessError(f"--engine-arg {name}={value}: it is a number, or true or false.")


def _images(options: ModelOptions) -> int:
    """Pictures that a question may have."""
    limits = options.engine_args.get("limit_mm_per_prompt", {"image": IMAGES})
    images = limits.get("image") if isinstance(limits, dict) else None
    if not isinstance(images, int) or images < 1:
        raise HarnessError(
            "--engine-arg limit_mm_per_prompt: it is a number of pictures.",
            remedy="""--engine-arg 'limit_mm_per_prompt={"image": 8}'""",
        )
    return images


def _module() -> Any:
    """The package vllm, which writes nothing to standard output and reports to nobody."""
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    return importlib.import_module(ENGINE)


def _errors(name: str) -> tuple[type[Exception], ...]:
    """The exception of that name, in whichever module this version of vLLM has it."""
    found: list[type[Exception]] = []
    for module in ("vllm.exceptions", "vllm.v1.engine.exceptions"):
        with contextlib.suppress(ImportError, AttributeError):
            found.append(getattr(importlib.import_module(module), name))
    return tuple(found)


def _unusable() -> tuple[type[Exception], ...]:
    """What vLLM raises for a model, or a memory, that it cannot run with."""
    return (ValueError, RuntimeError, OSError, ImportError, *_errors("VLLMValidationError"))


_running: dict[str, Any] = {}
"""The one vLLM of this process, by what it was started with: it takes the device's memory."""


def _start(folder: Path, arguments: Mapping[str, Any]) -> Any:
    """A `vllm.LLM`; the one that is running, if it was started with the same."""
    key = repr((str(folder), sorted(arguments.items(), key=str)))
    if key in _running:
        return _running[key]
    if _running:
        raise HarnessError(
            "vLLM already runs another model in this process, and holds the device's memory.",
            remedy="Run one model by command, or by Python process.",
        )
    try:
        with dequantized(folder) as whole:
            _running[key] = _module().LLM(model=str(whole), **arguments)
    except _unusable() as error:
        raise HarnessError(
            f"vLLM cannot run {folder.name}.",
            known=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            remedy="--engine harness; or, where the memory is too small, --engine-arg "
            "max_model_len=N.",
            code=Exit.MISSING,
        ) from error
    return _running[key]
