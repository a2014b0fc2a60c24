"""What a run needs of a source of completions, whatever answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from harness.checkpoints.catalog import ModelSpec
from harness.core.options import ModelOptions
from harness.core.types import Model, Prompt, Style
from harness.families.family import ModelFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a source can do, and what a run has to mind."""

    in_process: bool = True
    """It runs on this machine, for this command alone. Otherwise it can be gone, or be paid for:
    one question finds out whether it answers."""
    log_likelihoods: bool = True
    """It gives the likelihood of a text that it did not write."""
    counts_tokens: bool = True
    """It counts a prompt's tokens, so that --truncate can shorten those beyond its context."""
    batches: bool = True
    """It takes several questions at once."""
    concurrency: int | None = None
    """Questions that it is asked at once by default; None: as many as fit into memory."""
    prepares_ahead: bool = True
    """Other processes can prepare prompts ahead of it."""
    measures_memory: bool = True
    """The peak memory of this process, and of its device, is the model's."""


class Identity(Protocol):
    """What a record says of the model that answers, as a `Checkpoint` and an `Endpoint` have it."""

    @property
    def name(self) -> str:
        """What the run is called."""

    @property
    def title(self) -> str:
        """What tables print."""

    @property
    def spec(self) -> ModelSpec | None:
        """The catalogue's row whose styles and limits hold."""

    @property
    def named(self) -> bool:
        """Whether the user asked for `spec` by name."""

    @property
    def style(self) -> Style:
        """The prompt style where none is asked for."""

    @property
    def plain_styles(self) -> tuple[Style, ...]:
        """Styles in which it is asked the bare question: no instruction is added."""

    @property
    def model_type(self) -> str:
        """The `model_type` of its config.json; "": unknown."""

    @property
    def size(self) -> str:
        """As people write it: "2B"."""

    @property
    def licence(self) -> str: ...

    @property
    def repo(self) -> str | None: ...

    @property
    def revision(self) -> str | None: ...

    @property
    def weights(self) -> str:
        """Where the weights are, in words."""

    @property
    def mini(self) -> bool:
        """Whether it is one of the package's own miniatures, or was made from one."""


class Source(Protocol):
    """What answers the questions of a run. Making one finds out whether it is there, as far as that
    takes no time; `load` does the rest when a run first needs an answer."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def checkpoint(self) -> Identity: ...

    @property
    def place(self) -> str:
        """What an error calls it: an address, or the name of an engine."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """How the model is run, as run.json has it: dtype, attention, processor_args,
        chat_template, engine."""

    @property
    def device(self) -> str:
        """As torch names it, or `harness.core.timing.REMOTE`."""

    @property
    def devices(self) -> int | None:
        """How many devices compute; None: unknown."""

    @property
    def dtype(self) -> str: ...

    @property
    def family(self) -> ModelFamily:
        """The model family, as far as it is known."""

    @property
    def max_images(self) -> int | None:
        """Pictures that a question may have; None: any number."""

    @property
    def load_seconds(self) -> float | None: ...

    @property
    def early_fingerprint(self) -> Mapping[str, Any]:
        """What answers depend on, as far as it is known before anything is loaded or contacted."""

    @property
    def full_fingerprint(self) -> Mapping[str, Any]:
        """What else they depend on: the hash of the weights, how a template words a prompt."""

    @property
    def weights_hash(self) -> str:
        """The hash of the weights in one line, or what a server says of them; "": unknown."""

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """`harness.core.abilities.TemplatedModel.rendering`; empty until the model is loaded."""

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What the record says of the loaded model; None before it is loaded."""

    def prompt_text(self, prompt: Prompt) -> str:
        """The text that the model gets for a prompt, without loading its weights."""

    def load(self) -> Model:
        """The model; loaded, or contacted, on the first call.

        Raises:
            HarnessError: it is not there, or cannot be used as it is.
        """


class Kind(Source, Protocol):
    """A kind of source, as the registry holds its class."""

    @classmethod
    def answers(cls, options: ModelOptions) -> bool:
        """Whether `--model` and `--engine` mean a source of this kind."""

    @classmethod
    def of(cls, options: ModelOptions) -> Self:
        """The source that they mean; raises HarnessError where it is not there."""
