"""The one loop, with toy models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from harness.core.errors import NOT_FINITE, HarnessError, SampleError
from harness.core.prompts import shots, user_text
from harness.core.types import (
    Decoding,
    Extraction,
    ImageRef,
    Output,
    Prompt,
    Sample,
    SampleSet,
    Style,
    Task,
)
from harness.data.fingerprint import image_digests
from harness.run.prompting import PromptSettings
from harness.run.runner import CONCLUDED, GIVE_UP_AFTER, Runner, batches


class Letter:
    """Answers "A" to everything; each forward pass takes a second of its own clock."""

    description: dict[str, Any] = {}
    max_images: int | None = None

    def __init__(self, *, largest: int = 99, broken: Sequence[str] = ()) -> None:
        self.now = 0.0
        self.largest = largest
        self.broken = set(broken)
        self.sizes: list[int] = []
        self.limits: list[int] = []

    def clock(self) -> float:
        return self.now

    def prepare(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        self.now += 0.5
        return prompts

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        self.now += 1.0
        if len(prepared) > self.largest:
            raise MemoryError("out of memory")
        if any(p.question in self.broken for p in prepared):
            raise ValueError("this one breaks")
        self.sizes.append(len(prepared))
        self.limits.append(decoding.max_new_tokens)
        return [Output("A", p.text, 10, 2) for p in prepared]


def ask(sample: Sample, style: Style) -> Prompt:
    for image in sample.images:
        image.read()
    return Prompt(
        text=sample.question, question=sample.question, choices=sample.choices, style=style
    )


TASK = Task(
    name="toy",
    title="Toy",
    load=lambda _: SampleSet(samples=(), total=0),
    prompt=ask,
    extract=lambda raw, choices: Extraction(0 if raw == "A" else None, "letter"),
    metrics=(),
)


def corrupt() -> bytes:
    raise SampleError("7.png is no picture")


def make_samples(n: int, *, bad: Sequence[int] = ()) -> list[Sample]:
    return [
        Sample(
            id=str(i),
            question=f"q{i}",
            target=i % 2,
            choices=("x", "y"),
            images=(ImageRef("7.png", corrupt),) if i in bad else (),
        )
        for i in range(n)
    ]


def make_runner(model: Letter, prompts: PromptSettings | None = None) -> Runner:
    return Runner(
        model,
        TASK,
        prompts=prompts or PromptSettings(style="direct"),
        decoding=Decoding(max_new_tokens=9),
        digests={},
        clock=model.clock,
    )


def test_batches_are_cut_from_all_samples_and_repeated_whole() -> None:
    """A resumed run has the batches of an uninterrupted one, less those that are finished."""
    samples = make_samples(10)
    ids = [[s.id for s in batch] for batch in batches(samples, 4, done=["0", "1", "2", "3", "5"])]
    assert ids == [["4", "5", "6", "7"], ["8", "9"]]
    assert list(batches(samples, 4, done=[s.id for s in samples])) == []


def test_a_batch_becomes_predictions() -> None:
    """Each sample has its answer, its verdict, and an equal share of the batch's time."""
    model = Letter()
    made = make_runner(model).answer(make_samples(4))
    assert [p.correct for p in made] == [True, False, True, False]
    assert [p.sample_id for p in made] == ["0", "1", "2", "3"]
    assert {p.seconds for p in made} == {1.5 / 4}
    assert {p.preprocess_seconds for p in made} == {0.5 / 4}
    assert made[0].prompt == "q0"
    assert (made[0].tokens, made[0].tokens_in) == (2, 10)


def test_a_bad_sample_is_a_row_with_a_reason() -> None:
    """A picture that cannot be read costs its own answer only."""
    made = make_runner(Letter()).answer(make_samples(4, bad=[2]))
    assert [p.error for p in made] == [None, None, "7.png is no picture", None]
    assert made[2].correct is None
    assert made[2].seconds is None
    assert made[3].answer == 0


def test_a_picture_that_changes_during_a_run_is_an_error_row() -> None:
    """Also one that was not there when the run's data were hashed; the record keeps what it was."""
    files = {"same": b"same", "other": b"before", "gone": b"gone", "moved": b"moved"}

    def sample(name: str) -> Sample:
        image = ImageRef(f"{name}.png", lambda: files[name] if name in files else corrupt())
        return Sample(id=name, question="q", target=0, choices=("x", "y"), images=(image,))

    samples = [sample(name) for name in ("same", "other", "gone", "late")]
    digests = image_digests(samples)
    files |= {"other": b"after", "late": b"late"}
    del files["gone"]
    runner = Runner(
        Letter(),
        TASK,
        prompts=PromptSettings(style="direct"),
        decoding=Decoding(max_new_tokens=9),
        digests=digests,
    )
    made = runner.answer(samples)
    assert [p.error for p in made] == [
        None,
        "other.png: the picture has changed since the run began",
        "7.png is no picture",
        "late.png: the picture has changed since the run began",
    ]
    assert [p.images for p in made] == [digests[s.id] for s in samples]


def test_pictures_of_shuffled_options_are_held_against_their_own_digests() -> None:
    """They move with their options; each is checked as the data have them."""
    images = tuple(ImageRef(f"{at}", partial(str.encode, str(at))) for at in range(4))
    choices = ("a", "b", "c")
    sample = Sample(
        id="s", question="q", target=0, choices=choices, images=images, pictured_choices=True
    )
    runner = Runner(
        Letter(),
        TASK,
        prompts=PromptSettings(style="direct", shuffle=1),
        decoding=Decoding(max_new_tokens=9),
        digests=image_digests([sample]),
    )
    (made,) = runner.answer([sample])
    assert made.error is None
    assert made.order != (0, 1, 2)


def test_a_sample_that_breaks_the_model_is_found_by_halving() -> None:
    """The other samples of its batch are answered all the same."""
    made = make_runner(Letter(broken=["q5"])).answer(make_samples(8))
    assert [p.sample_id for p in made if p.error] == ["5"]
    assert made[5].error == "ValueError: this one breaks"
    assert all(p.answer == 0 for p in made if not p.error)


def test_a_batch_that_does_not_fit_is_halved() -> None:
    """Out of memory loses nothing."""
    model = Letter(largest=3)
    made = make_runner(model).answer(make_samples(8))
    assert all(p.error is None for p in made)
    assert model.sizes == [2, 2, 2, 2]


def test_a_model_that_answers_nothing_ends_the_run() -> None:
    """A wrong set-up is told at once, not after a night of error rows."""
    runner = make_runner(Letter(largest=0))
    with pytest.raises(HarnessError, match=f"first {GIVE_UP_AFTER} samples"):
        runner.answer(make_samples(32))


class Told(Letter):
    """Gives "A" with whatever else was laid down for a question."""

    def __init__(self, **told: dict[str, Any]) -> None:
        super().__init__()
        self.told = told

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        made = zip(prepared, super().generate(prepared, decoding), strict=True)
        return [replace(output, **self.told.get(prompt.question, {})) for prompt, output in made]


def test_a_row_that_the_model_names_as_failed_fails_alone() -> None:
    """A model that knows which of a batch has no answer is asked once, and loses that row only."""
    model = Told(q1={"error": "HTTP 400: too long"})
    made = make_runner(model).answer(make_samples(4))
    assert [p.error for p in made] == [None, "HTTP 400: too long", None, None]
    assert made[1].answer is None
    assert model.sizes == [4]


def test_rows_that_all_fail_end_the_run() -> None:
    """Rows that a model names as failed count like those that it breaks on."""
    model = Told(**{f"q{i}": {"error": "HTTP 500"} for i in range(20)})
    with pytest.raises(HarnessError, match=f"first {GIVE_UP_AFTER} samples"):
        make_runner(model).answer(make_samples(20))


def test_what_a_user_can_put_right_is_no_error_row() -> None:
    """An error that is meant for the user ends the run at once: no halving, no error rows."""

    class Gone(Letter):
        def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
            self.sizes.append(len(prepared))
            raise HarnessError("no server answers")

    model = Gone()
    with pytest.raises(HarnessError, match="no server answers"):
        make_runner(model).answer(make_samples(4))
    assert model.sizes == [4]


def test_a_refusal_is_not_read() -> None:
    """What a server marks as a refusal is kept as it is, and is unparsed; what it says of an answer's
    end and of its time is kept beside it."""
    model = Told(q0={"finish": "refusal"}, q1={"finish": "length", "latency": 0.25})
    made = make_runner(model).answer(make_samples(2))
    assert (made[0].raw, made[0].answer, made[0].rule, made[0].correct) == (
        "A",
        None,
        "refusal",
        False,
    )
    assert (made[1].answer, made[1].finish, made[1].latency) == (0, "length", 0.25)


def test_many_bad_pictures_do_not_end_the_run() -> None:
    """Failures of the data are not failures of the model."""
    made = make_runner(Letter()).answer(make_samples(20, bad=range(20)))
    assert all(p.error for p in made)


def test_warming_up_is_short_and_leaves_no_trace() -> None:
    """A few tokens, outside the clock of any sample."""
    model = Letter()
    runner = make_runner(model)
    assert runner.warm_up(make_samples(4)) == 1.5
    assert model.limits == [4]
    assert runner.answer(make_samples(1))[0].seconds == 1.5


class Silent(Letter):
    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        return super().generate(prepared, decoding)[:-1]


def test_a_model_that_drops_a_row_is_noticed() -> None:
    """Fewer outputs than prompts would shift every answer behind the gap."""
    with pytest.raises(HarnessError, match="0 outputs for 1 prompts"):
        make_runner(Silent()).answer(make_samples(16))


def test_shuffled_options_are_mapped_back() -> None:
    """The answer, and each score, belong to the option that they were given for, in the data's
    order; the order differs between questions and repeats under one seed."""
    samples = [
        Sample(id=str(i), question="q", target=0, choices=("x", "y", "z")) for i in range(12)
    ]
    made = make_runner(Letter(), PromptSettings(style="direct", shuffle=1)).answer(samples)
    assert [p.answer for p in made] == [p.order[0] for p in made]
    assert len({p.order for p in made}) > 2
    assert [p.correct for p in made] == [p.order[0] == 0 for p in made]
    again = make_runner(Letter(), PromptSettings(style="direct", shuffle=1)).answer(samples)
    assert [p.order for p in again] == [p.order for p in made]


class Likes(Letter):
    """Finds the option that sorts first the most likely."""

    def choose(self, prepared: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Output]:
        made = []
        for prompt, row in zip(prepared, options, strict=True):
            ranks = sorted(row)
            scores = tuple(-float(ranks.index(option)) for option in row)
            made.append(Output("ABCDE"[scores.index(0.0)], prompt.text, 10, 0, scores))
        return made


def test_scores_are_those_of_the_options_whatever_their_order() -> None:
    """With the options' texts scored, shuffling changes neither answers nor scores."""
    task = replace(TASK, extract=lambda raw, choices: Extraction("ABCDE".index(raw), "letter"))
    samples = [Sample(id=str(i), question="q", target=1, choices=("y", "x", "z")) for i in range(6)]
    for shuffle in (None, 1, 2):
        prompts = PromptSettings(
            style="plain", mode="loglikelihood", options="text", shuffle=shuffle
        )
        runner = Runner(
            Likes(), task, prompts=prompts, decoding=Decoding(max_new_tokens=1), digests={}
        )
        made = runner.answer(samples)
        assert [p.answer for p in made] == [1] * 6
        assert {p.log_likelihoods for p in made} == {(-1.0, 0.0, -2.0)}
        assert all(p.correct for p in made)


def test_examples_come_before_the_question() -> None:
    """Few-shot examples are part of every prompt; each question has its own."""
    examples = shots([Sample(id="t", question="Why?", target=1, choices=("x", "y"))], TASK)
    assert examples == ("Why?\nAnswer: B",)
    settings = PromptSettings(
        style="direct", examples=lambda sample: (*examples, f"before {sample.id}")
    )
    runner = make_runner(Letter(), settings)
    prompts = [runner._prompter.prompt(sample) for sample in make_samples(2)]
    assert [user_text(prompt, ("direct",)) for prompt in prompts] == [
        f"Why?\nAnswer: B\n\nbefore {at}\n\nq{at}" for at in range(2)
    ]


def test_pictures_of_options_move_with_their_options() -> None:
    """Where options are pictures, shuffling keeps each with its text, behind the main image."""
    pictures = tuple(ImageRef(name, name.encode) for name in ("main", "x", "y", "z"))
    sample = Sample(
        id="1",
        question="q",
        target=0,
        choices=("x", "y", "z"),
        images=pictures,
        pictured_choices=True,
    )
    asked: list[Sample] = []

    def remember(sample: Sample, style: Style) -> Prompt:
        asked.append(sample)
        return ask(sample, style)

    runner = Runner(
        Letter(),
        replace(TASK, prompt=remember),
        prompts=PromptSettings(style="direct", shuffle=2),
        decoding=Decoding(max_new_tokens=1),
        digests={},
    )
    runner.answer([sample])
    assert asked[0].choices != sample.choices
    assert [image.label for image in asked[0].images] == ["main", *asked[0].choices]


def test_more_pictures_than_a_model_takes_are_no_failure_of_the_model() -> None:
    """Each such question is an error row, without trying, halving, or giving up."""

    class OnePicture(Letter):
        max_images = 1

        def prepare(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
            assert all(len(prompt.images) <= 1 for prompt in prompts)
            return super().prepare(prompts)

    def show(sample: Sample, style: Style) -> Prompt:
        return replace(ask(sample, style), images=(None,) * len(sample.images))  # type: ignore[arg-type]

    model = OnePicture()
    samples = [
        Sample(id=str(i), question="q", target=0, choices=("x", "y"),
               images=(ImageRef("p", bytes),) * (1 + i % 2))
        for i in range(24)
    ]  # fmt: skip
    runner = Runner(
        model, replace(TASK, prompt=show), prompts=PromptSettings(style="direct"),
        decoding=Decoding(max_new_tokens=1), digests={},
    )  # fmt: skip
    made = runner.answer(samples)
    assert [p.error for p in made] == [
        None, "2 pictures, and the model takes 1 at a time"
    ] * 12  # fmt: skip
    assert model.sizes == [12]


class Reasons(Likes):
    """Reasons, then concludes A; finds the option that sorts first the likeliest."""

    begun: list[str] = []

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        raws = ["<REASONING> y. </REASONING>\n\n<CONCLUSION> A </CONCLUSION>", "A", "<REASONING> z"]
        return [Output(raws[int(p.question)], p.text, 10, 2) for p in prepared]

    def choose(self, prepared: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Output]:
        self.begun = [prompt.answer_prefix for prompt in prepared]
        return [replace(output, raw="B") for output in super().choose(prepared, options)]


def test_conclusions_are_chosen_behind_the_reasoning() -> None:
    """What the model wrote stays in raw; where it reasoned, the likeliest option is its answer."""
    samples = [Sample(id=str(i), question=str(i), target=1, choices=("x", "y")) for i in range(3)]
    model = Reasons()
    task = replace(TASK, extract=lambda raw, choices: Extraction("AB".index(raw[-1:]), "letter"))
    runner = Runner(
        model, task, prompts=PromptSettings(style="structured", conclude=True),
        decoding=Decoding(max_new_tokens=1), digests={},
    )  # fmt: skip
    made = runner.answer(samples)
    assert [p.answer for p in made] == [1, 0, 1]
    assert [p.rule for p in made] == [CONCLUDED, "letter", CONCLUDED]
    assert made[0].raw.endswith("<CONCLUSION> A </CONCLUSION>")
    assert [len(p.log_likelihoods) for p in made] == [2, 0, 2]
    assert model.begun == [
        "<REASONING> y. </REASONING>\n\n<CONCLUSION>",
        "<REASONING> z\n\n<CONCLUSION>",
    ]


@pytest.mark.parametrize("raised", [True, False])
def test_a_conclusion_that_cannot_be_chosen_is_an_error_row(raised: bool) -> None:
    """Whether the model fails on it or gives NaN, the other questions are answered."""

    class Fails(Reasons):
        def choose(
            self, prepared: Sequence[Prompt], options: Sequence[Sequence[str]]
        ) -> list[Output]:
            bad = [prompt.question == "2" for prompt in prepared]
            if raised and any(bad):
                raise ValueError("this one breaks")
            made = zip(super().choose(prepared, options), bad, strict=True)
            return [
                replace(o, error=NOT_FINITE, raw="", log_likelihoods=()) if b else o
                for o, b in made
            ]

    samples = [Sample(id=str(i), question=str(i), target=1, choices=("x", "y")) for i in range(3)]
    task = replace(TASK, extract=lambda raw, choices: Extraction("AB".index(raw[-1:]), "letter"))
    runner = Runner(
        Fails(), task, prompts=PromptSettings(style="structured", conclude=True),
        decoding=Decoding(max_new_tokens=1), digests={},
    )  # fmt: skip
    made = runner.answer(samples)
    expected = "ValueError: this one breaks" if raised else NOT_FINITE
    assert [p.error for p in made] == [None, None, expected]
    assert [p.rule for p in made] == [CONCLUDED, "letter", "failed"]


def test_questions_that_give_nan_never_end_a_run() -> None:
    """Each is a row of its own, however many come first: the others may well be answered."""
    model = Told(**{f"q{i}": {"error": NOT_FINITE} for i in range(20)})
    made = make_runner(model).answer(make_samples(24))
    assert [p.error for p in made] == [NOT_FINITE] * 20 + [None] * 4


def test_what_fails_while_warming_up_is_counted_once() -> None:
    """Four questions that the model cannot answer are four failures, not eight."""
    model = Letter(broken=[f"q{i}" for i in range(4)])
    runner = make_runner(model)
    runner.warm_up(make_samples(4))
    made = [p for batch in batches(make_samples(8), 4, done=[]) for p in runner.answer(batch)]
    assert [bool(p.error) for p in made] == [True] * 4 + [False] * 4


def test_a_question_that_cannot_be_prepared_costs_no_other_a_pass() -> None:
    """It is found before the model is asked: the rest of its batch is asked at once."""

    class Refuses(Letter):
        def prepare(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
            if any(prompt.question == "q3" for prompt in prompts):
                raise SampleError("too long")
            return super().prepare(prompts)

    model = Refuses()
    made = make_runner(model).answer(make_samples(8))
    assert [p.error for p in made] == [None] * 3 + ["too long"] + [None] * 4
    assert model.sizes == [7]
