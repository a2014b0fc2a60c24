"""The types of the harness: what a task gives, what a model takes, what a run keeps.

    Task.load -> Sample -> Task.prompt -> Prompt -> Model -> raw text -> Task.extract -> Prediction

`Prompt` is the seam: a task makes it, a model takes it, neither names the other. The right answer
is in `Sample` and in `Prediction`, never in a `Prompt`, so that no model can see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from harness.core.declarations import SAMPLES, Option
from harness.core.errors import SampleError

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.core.images import Transparency

Style = Literal["plain", "direct", "structured", "cot"]
"""plain: the bare question; direct: the letter only; structured: the four tags; cot: by steps."""
Mode = Literal["generate", "loglikelihood"]
OptionForm = Literal["letter", "text"]
REFUSAL = "refusal"
"""The `finish` of an answer that a server marked as a refusal."""
STOP, LENGTH = "stop", "length"
"""The `finish` of an answer that the model ended, and of one that the token limit cut."""
Target = int | str
"""A 0-based index into the choices, or the reference text of an open question."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One picture of a sample; its bytes are read, and decoded, only when needed."""

    label: str
    """What an error message calls it: a path within the data folder, or a row and a field."""
    read: Callable[[], bytes]
    """Returns the encoded file; raises SampleError where it cannot be read."""
    transparency: Transparency = "blend"
    """How its transparent parts are treated."""
    state: Callable[[], str] | None = None
    """Returns a text that changes whenever the bytes do, without reading them; "" where only
    reading tells, as None always does."""

    def digest(self) -> str:
        """The sha256 of the encoded bytes, in hex; raises SampleError."""
        return sha256(self.read()).hexdigest()

    def expecting(self, digest: str) -> ImageRef:
        """The same picture, whose read fails if the bytes have another digest; "": the digest of a
        picture that could not be read."""
        return replace(self, read=partial(_read_expected, self, digest))

    def decode(self) -> Image:
        """The picture in RGB, upright; raises SampleError."""
        from harness.core.images import decode

        return decode(self.read(), label=self.label, transparency=self.transparency)


def _read_expected(image: ImageRef, digest: str) -> bytes:
    data = image.read()
    if sha256(data).hexdigest() != digest:
        raise SampleError(f"{image.label}: the picture has changed since the run began")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question with its answer, as the data set has it."""

    id: str
    numbered: bool = False
    """The data set has no ids: `id` is the row's number, and another row's in another split."""
    question: str
    target: Target
    choices: tuple[str, ...] = ()
    images: tuple[ImageRef, ...] = ()
    pictured_choices: bool = False
    """The last images are those of the choices, one for each, in their order."""
    topic: str = ""
    context: str = ""
    """Text in addition to the question (ScienceQA's hint, VQAonline's context)."""
    lecture: str = ""
    solution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The input of a model. It never holds the answer."""

    text: str
    """The whole question as the task words it, options and context included."""
    question: str
    """The question alone, for models that do not take text and options in one piece."""
    choices: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    answer_prefix: str = ""
    """What the model itself has written of its answer so far, to be continued."""
    examples: tuple[str, ...] = ()
    """Answered questions of the train split that are shown first (few-shot), as text."""
    style: Style = "direct"


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer that was extracted from a model's raw text."""

    answer: Target | None
    """None: unparsed, which counts as wrong, and is counted."""
    rule: str
    """The name of the rule that fired, or of the reason why none did."""
    span: tuple[int, int] | None = field(default=None, compare=False)
    """Start and end, in the raw text, of the words that the answer was extracted from; None where
    there is no answer. It is the answer's place, not its value, so it is not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One line of predictions.jsonl: the question, the raw output and the extracted answer.

    It repeats what it needs of the sample, so that a run can be read again, compared and printed
    when neither the data nor the model is at hand.
    """

    sample_id: str
    raw: str
    answer: Target | None
    rule: str
    correct: bool | None
    """None for open answers, and for samples that failed."""
    target: Target
    question: str = ""
    choices: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    """Where options were shuffled: the i-th one asked was choices[order[i]]. Empty: as they are."""
    scores: tuple[float, ...] = ()
    """Log-likelihood of each of `choices`, per token; only where options were scored."""
    topic: str = ""
    images: tuple[str, ...] = ()
    """sha256 of each picture's encoded bytes, in hex; "" for one that could not be read."""
    prompt: str = ""
    """The text as it was sent to the model's tokenizer."""
    seconds: float | None = None
    """Preprocessing and generation: its equal shares of the wall time of each pass that it took
    part in, see `harness.core.timing`. None: not timed (answers made elsewhere)."""
    preprocess_seconds: float | None = None
    """The part of `seconds` spent, or waited, before the model was called."""
    tokens: int | None = None
    """Tokens generated, the end token included."""
    tokens_in: int | None = None
    """Tokens of the prompt, image tokens included, padding not."""
    truncated: int = 0
    """Tokens that were left out of the prompt to make it fit: of the context text by --truncate, of
    the question by ViLT."""
    latency: float | None = None
    """Seconds of this sample's own request, where a server answered it; its retries left out."""
    finish: str = ""
    """Why the text ended: stop, length, or as a server says it; see `is_finished`. "": unknown."""
    span: tuple[int, int] | None = field(default=None, compare=False)
    """As in `Extraction`."""
    error: str | None = None
    """Why this sample has no answer; None where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One figure of a run."""

    value: float | None
    """None: not computed, see `note`; never 0 for that."""
    n: int
    """The number of samples it is computed from."""
    low: float | None = None
    high: float | None = None
    """The ends of the 95% interval."""
    note: str = ""
    """The metric's signature, or the reason why there is no value."""


_ENDED = frozenset(
    {STOP, "eos", "eos_token", "end", "end_turn", "end_of_turn", "stop_sequence", "stop_token"}
    | {"complete", "completed", "finished"}
)
_CUT = frozenset(
    {LENGTH, "max_length", "model_length", "max_tokens", "max_new_tokens", "max_output_tokens"}
    | {"max_completion_tokens", "token_limit", "context_length", "truncated", "incomplete"}
)
_BROKEN_OFF = frozenset({"content_filter", "safety", "recitation", "abort", "cancelled", "error"})
"""The `finish` values of the servers and libraries that there are, in lower case."""


def is_cut(finish: str) -> bool:
    """Whether a token limit ended the text."""
    return _normalized(finish) in _CUT


def is_finished(finish: str) -> bool | None:
    """Whether the model itself ended the text; None where `finish` does not say."""
    reason = _normalized(finish)
    if reason in _CUT or reason in _BROKEN_OFF:
        return False
    return True if reason in _ENDED else None


def _normalized(finish: str) -> str:
    return finish.strip().lower().replace("-", "_")


Metric = Callable[[Sequence[Prediction]], Mapping[str, Value]]
"""A function over a whole run; accuracies and shares are fractions, 0 to 1."""


DATA = Option(
    "Folder or file with the questions, in place of the Hub data set.", panel=SAMPLES, flag="data"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Where a task's samples come from."""

    path: Annotated[Path | None, DATA] = None
    """None: the task's own data set on the Hub, or its offline cache."""
    split: Annotated[str, Option("Split of the data.", panel=SAMPLES)] = "test"
    revision: Annotated[
        str | None,
        Option(
            "Branch, tag or commit of the Hub data set. Default: its newest commit.", panel=SAMPLES
        ),
    ] = None
    text_only: Annotated[
        bool,
        Option(
            "Samples without an image: leave out and count, or ask without one.",
            panel=SAMPLES,
            default="skip",
            given=Literal["skip", "include"],
            parse=lambda chosen: chosen == "include",
        ),
    ] = False
    """Keep samples without an image."""
    download: bool = True
    """Fetch from the hub what its cache here does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """The samples of one split, in the data's own order, and what was left out of them."""

    samples: Sequence[Sample]
    total: int
    """Rows of the split before anything was left out."""
    filtered: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows left out for it, such as {"no image": 2224}."""
    source: str = ""
    """The hub repository or the path that the rows came from, for provenance."""
    revision: str | None = None
    licence: str = ""
    unit: str = "questions"
    """What n counts, in words: "image questions"."""
    notes: Sequence[str] = ()
    """What a run logs before the first question."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The file of a user's own task, as hashes."""

    asking: str
    """Of the part of the file on which the prompts depend."""
    whole: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A data set with its way of asking, reading and scoring. One file per task in `tasks/`."""

    name: str
    title: str
    load: Callable[[DataOptions], SampleSet]
    prompt: Callable[[Sample, Style], Prompt]
    """Decodes the sample's images; raises SampleError where one cannot be."""
    extract: Callable[..., Extraction]
    """(raw text, choices) -> extraction. One that has a parameter `finished` is also given
    `finished=`: True where the model ended the text, False where a limit cut it, None where
    nobody knows."""
    metrics: tuple[Metric, ...]
    answers: Literal["choice", "text"] = "choice"
    """Whether an answer is one of the choices, or text that is compared with a reference."""
    max_new_tokens: int = 512
    synthetic: bool = False
    """Its questions are made by a program, and say nothing about how well a model does on real
    ones: every score of it is marked as such."""
    file: TaskFile | None = None
    """Where the task is a user's own; set when it is loaded."""

    @property
    def read(self) -> Callable[..., Extraction]:
        """The former name of `extract`, by which task files of users know it."""
        return self.extract


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Settings of generation. Greedy where `temperature` is 0."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: str = ""
    """A row ends as soon as it has written this; it is kept. Empty: only the end token ends it."""


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a model for one prompt."""

    raw: str
    prompt: str
    tokens_in: int | None
    """None: a server that does not say."""
    tokens: int | None
    scores: tuple[float, ...] = ()
    """Log-likelihood per token of each option, where options were scored."""
    concluded: str = ""
    """The letter that was scored highest after the reasoning, with --conclude."""
    latency: float | None = None
    finish: str = ""
    """As in `Prediction`. A REFUSAL is not read: it is words about the question, not an answer."""
    truncated: int = 0
    """Tokens of the prompt that the model itself has left out."""
    error: str = ""
    """Why this prompt alone of its batch has no output; it becomes an error row."""


@dataclass(frozen=True, slots=True)
class TimedOutput:
    """One answer of a stream."""

    number: int
    """Which prompt it is to."""
    output: Output
    seconds: float
    """Its share of the time that the model worked: the shares of all answers add up to it."""


class Model(Protocol):
    """A loaded model. Preparing and generating are apart so that each can be timed, and so that
    preparing can run ahead."""

    @property
    def max_images(self) -> int | None:
        """How many pictures a prompt may have; None: any number."""

    @property
    def description(self) -> Mapping[str, Any]:
        """Its fields in the record: parameters, dtype, device, attention kernel ..."""

    def prepare(self, prompts: Sequence[Prompt]) -> Any:
        """Everything before the forward pass: templates, tokens, pixels. Touches no accelerator."""

    def generate(self, prepared: Any, decoding: Decoding) -> list[Output]:
        """One output per prompt, in order; the same whatever else is in the batch."""

    def choose(self, prepared: Any, options: Sequence[Sequence[str]]) -> list[Output]:
        """For each prompt the letter of the most likely of its `options`, and all their scores."""


@runtime_checkable
class TemplatedModel(Protocol):
    """A model that words its prompts by a template."""

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """template: a hash of what it makes of a question with a picture and of one without;
        template_rule: how it was chosen or changed, None where it is the checkpoint's as it is."""


@runtime_checkable
class BoundedModel(Protocol):
    """A model that refuses prompts beyond its context, with a ContextError from `prepare`."""

    @property
    def context(self) -> int | None:
        """Tokens that a prompt may have; None: it is not known."""

    def count(self, prompt: Prompt) -> int:
        """The tokens of a prompt, those of its pictures included."""


@runtime_checkable
class StreamingModel(Protocol):
    """A model that takes the next prompt as soon as an answer is finished, batches or not."""

    @property
    def slots(self) -> int:
        """Slots that the last stream ended with: fewer than asked for where memory ran out."""

    def slots_that_fit(self, prepared: Any, decoding: Decoding) -> int:
        """How many slots fit into the memory that is free, going by what `prepare` made of some
        prompts and, on an accelerator, by trying."""

    def stream(
        self,
        prepared: Iterator[tuple[int, Any]],
        decoding: Decoding,
        *,
        slots: int,
        clock: Callable[[], float],
    ) -> Iterator[TimedOutput]:
        """The greedy answers to (number, what `prepare` made of one prompt), in any order; `slots`
        prompts at most are decoded at once, and a few more have been taken."""
