"""Weights that are loaded here, and run by the decoding engine or by transformers' `generate`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Self

from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.folder import weights_fingerprint
from harness.core import processes, timing
from harness.core.devices import resolve_device, resolve_dtype
from harness.core.errors import HarnessError
from harness.core.options import ModelOptions
from harness.core.types import Model, Prompt
from harness.sources.local import LocalModel, compute_devices, read_template
from harness.weights.resolve import resolve_weights


class Weights(LocalModel):
    """A checkpoint that is hashed in the background, and loaded when a run first needs it."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self.checkpoint: Checkpoint = resolve_weights(
            options.model,
            weights=options.weights,
            revision=options.revision,
            name=options.name,
            lora=options.lora,
            size=options.size,
            runs=options.runs,
        )
        self.template = read_template(options.chat_template, self.checkpoint)
        self._hash: Future[dict[str, str | None]] = Future()
        # A daemon, unlike an executor's threads: an interrupt does not wait for it.
        threading.Thread(target=self._hash_folder, daemon=True).start()
        self._model: Model | None = None
        self.load_seconds: float | None = None

    @classmethod
    def answers(cls, options: ModelOptions) -> bool:
        """Whatever no other kind answers is a name or a folder of weights."""
        del options
        return True

    @classmethod
    def of(cls, options: ModelOptions) -> Self:
        return cls(options)

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the weights are loaded, defaults resolved, as run.json has it."""
        options = self.options
        return {
            "dtype": options.quantize or self.dtype,
            "attention": options.attention or "default",
            "processor_args": dict(options.processor_args),
            "chat_template": str(options.chat_template) if options.chat_template else None,
            "engine": "transformers" if options.device_map else options.engine,
        }

    def _hash_folder(self) -> None:
        try:
            lora = self.checkpoint.lora
            hashes = {
                "weights": weights_fingerprint(self.checkpoint.folder),
                "adapter": weights_fingerprint(lora) if lora else None,
            }
            self._hash.set_result(hashes)
        except BaseException as error:  # noqa: BLE001  # raised again where the result is asked for
            self._hash.set_exception(error)

    @property
    def fingerprint(self) -> Mapping[str, str | None]:
        """What the answers depend on: the hash of the weights, and of an adapter or None."""
        return self._hash.result()

    @cached_property
    def device(self) -> str:
        return resolve_device(processes.own_device(resolve_device(self.options.device)))

    @property
    def devices(self) -> int | None:
        """How many devices compute; memory that a part of the model is fetched from is none."""
        return compute_devices(self.description)

    @cached_property
    def dtype(self) -> str:
        return resolve_dtype(self.options.dtype, self.device)

    def prompt_text(self, prompt: Prompt) -> str:
        """The text that the model's tokenizer gets for a prompt; its weights are not read."""
        from harness.models.loading import load_prompt_text

        arguments = self.options.processor_args
        return load_prompt_text(self.checkpoint, arguments, self.template)(prompt)

    def load(self) -> Model:
        """The model; loaded on the first call."""
        if self._model is not None:
            return self._model
        from harness.models.loading import LoadOptions, load

        if self.options.device_map and processes.here().processes > 1:
            raise HarnessError(
                "--device-map spreads the model over all devices, and several processes would each "
                "do so.",
                remedy="Start one process, or leave --device-map out.",
            )
        timing.reset_peak_device_memory(self.device)
        started = time.perf_counter()
        self._model = load(
            self.checkpoint,
            LoadOptions(
                device=self.device,
                dtype=self.dtype,
                attention=self.options.attention,
                quantize=self.options.quantize,
                device_map=self.options.device_map,
                processor_args=self.options.processor_args,
                chat_template=self.template,
                engine=self.options.engine,
                compiles=self.options.compiles,
            ),
        )
        self.load_seconds = time.perf_counter() - started
        return self._model

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What the record says of the loaded model; None before it is loaded."""
        return self._model.description if self._model else None
