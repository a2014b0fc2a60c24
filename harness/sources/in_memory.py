"""A model that is in memory, as a source."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints.catalog import find_type
from harness.checkpoints.checkpoint import MINI_MARK, Checkpoint
from harness.checkpoints.folder import weights_fingerprint
from harness.core.errors import HarnessError
from harness.core.types import Model, Prompt
from harness.sources.local import LocalModel, compute_devices, read_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedOptions:
    """How a model in memory is asked, as far as it is not settled by the model."""

    name: str | None = None
    """What to call the run; None: as what it was loaded from, with "-in-memory"."""
    processor_args: Mapping[str, Any] = field(default_factory=dict)
    chat_template: Path | None = None
    engine: str = "harness"


class LoadedModel(LocalModel):
    """A network of transformers with its processor.

    Its processor is copied, by saving and loading it, as the harness loads that of any folder.
    Nothing may train the network between the first use of this object and the last.

    Args:
        model: the network, or what training wraps around it: peft, DistributedDataParallel,
            torch.compile.
    """

    load_seconds: float | None = None
    """Nothing is loaded here."""

    def __init__(
        self, model: object, processor: object, *, options: LoadedOptions | None = None
    ) -> None:
        from harness.models.in_memory import network_of

        self._options = options or LoadedOptions()
        if self._options.engine == "vllm":
            raise HarnessError(
                "engine: vLLM loads weights itself, and runs no model that is in memory.",
                remedy="Pass the model's folder; or engine='harness'.",
            )
        self._network = network_of(model)
        self._folder = tempfile.TemporaryDirectory(prefix="harness-processor-")
        self.checkpoint = self._describe(processor)
        self.template = read_template(self._options.chat_template, self.checkpoint)
        self._model: Model | None = None

    def _describe(self, processor: object) -> Checkpoint:
        """The network's configuration and processor, as those of a checkpoint."""
        folder, config = Path(self._folder.name), self._network.config
        config.save_pretrained(folder)
        if not hasattr(processor, "save_pretrained"):
            raise HarnessError(
                f"processor is a {type(processor).__name__}, and no processor of transformers.",
                remedy="Pass what AutoProcessor.from_pretrained makes of the model's checkpoint.",
            )
        processor.save_pretrained(folder)
        origin = Path(config.name_or_path or "")
        with contextlib.suppress(OSError):  # most models come from no mini
            shutil.copyfile(origin / MINI_MARK, folder / MINI_MARK)
        return Checkpoint(
            name=self._options.name or f"{origin.name or config.model_type}-in-memory",
            folder=folder,
            spec=find_type(config.model_type),
            named=False,
            config=config.to_dict(),
            in_memory=True,
        )

    @property
    def network(self) -> PreTrainedModel:
        """The network itself."""
        return self._network

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the weights are in memory, as run.json has it."""
        options = self._options
        return {
            "dtype": self.dtype,
            "attention": "as in memory",
            "processor_args": dict(options.processor_args),
            "chat_template": str(options.chat_template) if options.chat_template else None,
            "engine": "transformers" if self._is_spread else options.engine,
        }

    @property
    def _is_spread(self) -> bool:
        return len({str(parameter.device) for parameter in self._network.parameters()}) > 1

    @cached_property
    def fingerprint(self) -> Mapping[str, str | None]:
        """The hash of every tensor's bytes, and of what the configuration and processor say."""
        from harness.models.in_memory import fingerprint

        files = weights_fingerprint(self.checkpoint.folder)
        return {"weights": f"{fingerprint(self._network)}, in memory; {files}", "adapter": None}

    @property
    def device(self) -> str:
        return str(self._network.device)

    @property
    def devices(self) -> int:
        """How many devices compute."""
        return compute_devices(self.description)

    @cached_property
    def dtype(self) -> str:
        from harness.models.in_memory import dtype_of

        return dtype_of(self._network)

    def prompt_text(self, prompt: Prompt) -> str:
        """The text that the model's tokenizer gets for a prompt."""
        from harness.models.loading import load_prompt_text

        arguments = self._options.processor_args
        return load_prompt_text(self.checkpoint, arguments, self.template)(prompt)

    def load(self) -> Model:
        """The model; put together on the first call, around the network as it is."""
        if self._model is None:
            from harness.models.loading import LoadOptions, assemble

            self._model = assemble(
                self._network,
                self.checkpoint,
                LoadOptions(
                    device=self.device,
                    dtype=self.dtype,
                    device_map="auto" if self._is_spread else None,
                    processor_args=self._options.processor_args,
                    chat_template=self.template,
                    engine=self._options.engine,
                ),
            )
        return self._model

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What the record says of the model; None before it is used."""
        return self._model.description if self._model else None

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[None]:
        """Use the network in evaluation mode, and leave it as it was."""
        from harness.models.in_memory import borrowed

        with borrowed(self._network):
            try:
                yield
            finally:
                self._model = None
                self._folder.cleanup()
