"""The types of the harness: what a task gives, what a model takes, what a run keeps.

    Task.load -> Sample -> Task.prompt -> Prompt -> Model -> raw text -> Task.extract -> Prediction

`Prompt` is the seam: a task makes it, a model takes it, neither names the other. The right answer
is in `Sample` and in `Prediction`, never in a `Prompt`, so that no model can see it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias

from harness.core.declarations import SAMPLES, Option
from harness.core.images import ImageRef

if TYPE_CHECKING:
    from PIL.Image import Image

Style = Literal["plain", "direct", "structured", "cot"]
"""plain: the bare question; direct: the letter only; structured: the four tags; cot: by steps."""
Mode = Literal["generate", "loglikelihood"]
OptionForm = Literal["letter", "text"]
REFUSAL = "refusal"
"""The `finish` of an answer that a server marked as a refusal."""
STOP, LENGTH = "stop", "length"
"""The `finish` of an answer that the model ended, and of one that the token limit cut."""
Answer: TypeAlias = int | str
"""A 0-based index into the choices, or a text."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One of the accepted answers of an open question."""

    text: str
    weight: float = 1.0
    """How much it counts among the references, for metrics that look at weights."""
    role: str = ""
    """What the data set says of it: an annotator's confidence, such as "maybe"."""


Target: TypeAlias = int | str | tuple[Reference, ...] | None
"""A 0-based index into the choices; or the reference text of an open question, or several. None:
the answer is not public, and nothing is scored by it."""


def references(target: Target) -> tuple[Reference, ...]:
    """The accepted texts of an open question; none for an index."""
    if target is None or isinstance(target, int):
        return ()
    return (Reference(target),) if isinstance(target, str) else target


def gold_text(target: Target, choices: Sequence[str] = ()) -> str:
    """The right answer in words: the option, or the reference with most weight, the first of
    those that are equal; "" where it is not public."""
    if isinstance(target, int):
        return choices[target]
    weights: dict[str, float] = {}
    for reference in references(target):
        weights[reference.text] = weights.get(reference.text, 0.0) + reference.weight
    return max(weights, key=weights.__getitem__, default="")


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
    group: str = ""
    """Samples of one group are not independent: rotations of one question, questions on one image.
    Intervals and tests take a group as a whole; some metrics score it as a whole."""
    metadata: Mapping[str, str | float] = field(default_factory=dict, hash=False)
    """What else a metric needs to know of the sample: a unit, a precision, a question type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The input of a model. It never holds the answer."""

    text: str
    """The whole question as the task words it, options and context included. Pictures stand where
    it has the marks of `harness.core.image_marks`; those without a mark come first."""
    question: str
    """The question alone, for models that do not take text and options in one piece."""
    choices: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    answer_prefix: str = ""
    """What the model itself has written of its answer so far, to be continued."""
    examples: tuple[str, ...] = ()
    """Answered questions of the train split that are shown first (few-shot), as text."""
    style: Style = "direct"
    instruction: str | None = None
    """How an answer is wanted, in the task's words: it comes after the text. None: in those of the
    style."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer that was extracted from a model's raw text."""

    answer: Answer | None
    """None: unparsed, which counts as wrong, and is counted."""
    rule: str
    """The name of the rule that fired, or of the reason why none did."""
    span: tuple[int, int] | None = field(default=None, compare=False)
    """Start and end, in the raw text, of the words that the answer was extracted from; None where
    there is no answer. It is the answer's place, not its value, so it is not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One of several sampled answers to a question: see `harness.run.voting`."""

    answer: Answer | None
    rule: str
    """`answer` and `rule` as in `Extraction`."""
    raw: str
    seed: int | None = None
    """Of the batch that it was sampled in."""
    tokens: int | None = None
    finish: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One line of predictions.jsonl: the question, the raw output and the extracted answer.

    It repeats what it needs of the sample, so that a run can be read again, compared and printed
    when neither the data nor the model is at hand.
    """

    sample_id: str
    raw: str
    answer: Answer | None
    rule: str
    target: Target
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Metric -> what it gave this answer. A metric that is not there did not score it, which is
    not 0."""
    question: str = ""
    choices: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    """Where options were shuffled: the i-th one asked was choices[order[i]]. Empty: as they are."""
    log_likelihoods: tuple[float, ...] = ()
    """Of each of `choices`, per token; only where options were scored."""
    topic: str = ""
    group: str = ""
    metadata: Mapping[str, str | float] = field(default_factory=dict, hash=False)
    """`group` and `metadata` as in `Sample`."""
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
    votes: tuple[Vote, ...] = ()
    """With --votes all answers; `raw` is the first of those that most agree with, and `tokens` are
    those of all."""
    span: tuple[int, int] | None = field(default=None, compare=False)
    """As in `Extraction`."""
    error: str | None = None
    """Why this sample has no answer; None where it has one."""

    @property
    def correct(self) -> bool | None:
        """Whether the right option was chosen; None for open answers, for failed samples and where
        the right one is not public."""
        unknown = self.error or not self.choices or self.target is None
        return None if unknown else self.answer == self.target

    @property
    def text(self) -> str:
        """The answer in words; "" where it is unparsed."""
        if isinstance(self.answer, int):
            return self.choices[self.answer]
        return self.answer or ""

    @property
    def references(self) -> tuple[str, ...]:
        """The accepted answers in words."""
        if isinstance(self.target, int):
            return (self.choices[self.target],)
        return tuple(reference.text for reference in references(self.target))


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
    caveat: str = ""
    """What the metric cannot judge in these answers; it is part of the note too."""


Unit = Literal["%", ""]
"""How a figure is shown: a fraction as a percentage, or the number itself."""
IntervalMethod = Literal["wilson", "bootstrap", "none"]


@dataclass(frozen=True, slots=True)
class Contributions:
    """What answers contribute to metrics that are computed together."""

    columns: Mapping[str, Any]
    """Metric -> a sequence or array with, for each answer, a number, several, or None: not
    scored."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Metric -> its signature; for one without a column, why it was not computed."""
    caveats: Mapping[str, str] = field(default_factory=dict)
    """Metric -> what it cannot judge in these answers."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of a run: what each answer contributes, and what is made of all contributions.

    A metric that gives each answer a number is the mean of these numbers, and each number is kept
    with its answer. One that gives several (counts of F1, of BLEU) needs an `aggregate` of their
    means. `harness.metrics.figures` computes it, overall and by topic, with its interval.
    """

    name: str
    """As records and exports have it: letters, digits and _."""
    title: str
    per_sample: Callable[[Prediction], float | Sequence[float] | None] | None = None
    """What an answer contributes; None: it is not scored. `answer` is None where the answer is
    unparsed, which should count as wrong. It is not called for samples that failed."""
    _: KW_ONLY
    aggregate: Callable[..., Any] | None = None
    """(the mean of each contribution, as arrays of one shape) -> the figure, of the same shape; not
    finite: undefined. None: the mean itself."""
    unit: Unit = "%"
    higher_is_better: bool = True
    bounds: tuple[float, float] | None = None
    """Between what its figures lie, for exports that must say it. None: 0 and 1 where the unit is
    %, else not known."""
    interval: IntervalMethod = "bootstrap"
    """wilson: of a share of right answers; bootstrap: percentiles over resampled answers. Where
    samples have groups, groups are resampled, and a share's interval is clustered by them."""
    meaning: str = ""
    """One line on what it measures and by which definition."""
    per_group: Callable[[Sequence[float]], float] | None = None
    """The score of a group, from those of its samples, such as `min`: right where all are. None:
    samples are scored one by one."""
    batch: Callable[[Sequence[Prediction]], Contributions] | None = None
    """In place of `per_sample`, for metrics that are computed for all answers at once, or together
    with others: metrics with the same function share one call."""
    by_topic: bool = True
    needs_model: bool = False
    """It loads a model to score: it is not computed again to show or compare a run."""

    def __post_init__(self) -> None:
        if (self.per_sample is None) == (self.batch is None):
            raise ValueError(f"the metric {self.name!r} needs per_sample or batch, and not both")


RunMetric = Callable[[Sequence[Prediction]], Mapping[str, Value]]
"""A function over a whole run, which names its figures itself; it has no scores per sample."""


DATA = Option(
    "Folder or file with the questions, in place of the Hub data set.", panel=SAMPLES, flag="data"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Where a task's samples come from."""

    path: Annotated[Path | None, DATA] = None
    """None: the task's own data set on the Hub, or its offline cache."""
    split: Annotated[
        str,
        Option(
            "Split of the data. Default: test, or the task's split with public answers.",
            panel=SAMPLES,
            metavar="NAME",
        ),
    ] = ""
    """"": the task's own, see `Task.split`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The file that an evaluation server takes for a split whose answers are not public."""

    server: str
    """Where it is uploaded, in words."""
    form: Literal["list", "by id", "answers by id", "xlsx"]
    """A JSON list of objects; one JSON object with an object for each id, or with the answer alone
    (the only field); or a spreadsheet with a row for each answer."""
    fields: Mapping[str, Callable[[Prediction], str | int]]
    """Name -> its value: see `harness.core.submissions`."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The file of a user's own task, as hashes."""

    asking: str
    """Of the part of the file on which the prompts depend."""
    whole: str


def _nothing(_: Mapping[str, Any]) -> Mapping[str, str | float]:
    return {}


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
    metrics: tuple[Metric | RunMetric, ...]
    """The first one decides: runs are ranked and compared by it."""
    answers: Literal["choice", "text", "mixed"] = "choice"
    """Whether an answer is one of the choices, or text that is compared with a reference; mixed:
    one of the choices where a sample has some, else text."""
    about: Callable[[Mapping[str, Any]], Mapping[str, str | float]] = _nothing
    """(fields of a row) -> the sample's metadata, for answers that were made elsewhere."""
    max_new_tokens: int = 512
    licence: str = ""
    """Of the published data set."""
    split: str = "test"
    """The split that is asked where none is named: one whose answers are public."""
    questions: int | None = None
    """Rows of that split as it is published; None: not known."""
    submission: Submission | None = None
    """None: there is no server that scores other splits."""
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
    log_likelihoods: tuple[float, ...] = ()
    """Per token, of each option, where options were scored."""
    concluded: str = ""
    """The letter that was scored highest after the reasoning, with --conclude."""
    latency: float | None = None
    finish: str = ""
    """As in `Prediction`. A REFUSAL is not read: it is words about the question, not an answer."""
    truncated: int = 0
    """Tokens of the prompt that the model itself has left out."""
    seed: int | None = None
    """Of the batch that it was sampled in, where there are several answers."""
    votes: tuple[Output, ...] = ()
    """With --votes all answers to the prompt, this one among them."""
    error: str = ""
    """Why this prompt alone of its batch has no output; it becomes an error row."""


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
