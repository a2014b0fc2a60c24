"""Prompts beyond the model's context: error rows, or shortened; counted and told either way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import ContextError, is_beyond_context
from harness.core.types import Decoding, Prediction, Prompt, Sample
from harness.models.context_length import context_length
from harness.models.loading import LoadOptions, load
from harness.run.prompting import PromptSettings
from harness.run.runner import Runner
from harness.run.truncation import GAP, SLACK, fit, without_middle
from tasks import load_task
from tests.drawn import draw_questions

CONTEXTS = {
    "llava": 4096,
    "llava-next": 4096,
    "llava-cot": 4096,
    "idefics3": 4096,
    "moondream": 2048,
    "phi-3.5": 131072,
    "kosmos-2": 2048,
}
LIMIT = 400
"""The context in these tests: a picture takes up to 310 tokens of it."""
TASK = load_task("vqaonline")
HINT = " ".join(f"fact {number}," for number in range(400))
PICTURE = Image.new("RGB", (40, 40), "red")


def loaded(folder: Path, engine: str = "harness", context: int = LIMIT) -> Any:
    how = LoadOptions(device="cpu", dtype="float32", engine=engine)
    model: Any = load(find_checkpoint(str(folder)), how)
    model.context = context
    return model


def answers(model: Any, samples: list[Sample], most: int = 8, **how: Any) -> list[Prediction]:
    """What a run makes of questions, each with a picture."""

    def prompt(sample: Sample, style: Any) -> Prompt:
        return replace(TASK.prompt(sample, style), images=(PICTURE,), choices=sample.choices)

    runner = Runner(
        model,
        replace(TASK, prompt=prompt),
        prompts=PromptSettings(style="direct", **how),
        decoding=Decoding(max_new_tokens=most),
        digests={},
    )
    made = [p for part in runner.answers([samples], slots=4) for p in part]
    return sorted(made, key=lambda p: p.sample_id)


def questions(*contexts: str, question: str = "Which is it?") -> list[Sample]:
    return [
        Sample(id=str(i), question=question, target="x", context=context, choices=("x", "y"))
        for i, context in enumerate(contexts)
    ]


@pytest.mark.parametrize("engine", ["harness", "transformers"])
@pytest.mark.parametrize("family", CONTEXTS)
def test_what_is_too_long_is_an_error_row(tiny, family: str, engine: str) -> None:
    """In either engine and both modes, with its length and the context; its neighbours are asked.
    The limit is the checkpoint's own."""
    model = loaded(tiny(family), engine)
    assert context_length(model.network.config) == CONTEXTS[family]
    asked = questions("", HINT, "Some.", HINT)
    for how in ({}, {"mode": "loglikelihood"}):
        made = answers(model, asked, **how)
        assert [is_beyond_context(p.error) for p in made] == [False, True, False, True]
        assert made[1].error is not None
        assert made[1].error.endswith(f" tokens, context {LIMIT}")
        assert [p.truncated for p in made] == [0] * 4


@pytest.mark.parametrize("family", CONTEXTS)
def test_a_shortened_prompt_keeps_question_beginning_and_end(tiny, family: str) -> None:
    """As much of the context text as leaves room for the answer; the middle is left out, and how
    much is in the record. What fits is asked token for token as without the option."""
    model = loaded(tiny(family))
    asked = questions("", HINT, "Some.")
    before = answers(model, asked)
    for how in ({}, {"mode": "loglikelihood"}):
        made = answers(model, asked, truncate=True, **how)
        assert [p.error for p in made] == [None] * 3
        assert [p.truncated > 0 for p in made] == [False, True, False]
        assert f"{made[1].tokens_in + made[1].truncated:,} tokens, context" in str(before[1].error)
        if not how:
            assert LIMIT - 8 - SLACK <= made[1].tokens_in <= LIMIT - 8
            assert [made[0].raw, made[2].raw] == [before[0].raw, before[2].raw]
        assert "Which is it?" in made[1].prompt
        assert "fact 0," in made[1].prompt
        assert "fact 399," in made[1].prompt
        assert GAP in made[1].prompt


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (replace(questions("")[0], question=HINT), "; it has no context text to shorten"),
        (replace(questions(HINT)[0], question=HINT), " without its context text"),
    ],
)
def test_the_question_is_never_cut(tiny, sample: Sample, said: str) -> None:
    """What is too long without its context text is an error row all the same."""
    (made,) = answers(loaded(tiny("llava")), [sample], truncate=True)
    assert is_beyond_context(made.error)
    assert made.error is not None
    assert made.error.endswith(said)


def test_options_that_do_not_fit_behind_the_prompt(tiny) -> None:
    """The prompt alone would fit; the longest option decides."""
    model = loaded(tiny("llava"))
    (row,) = model.prepare([Prompt(text="x", question="x")])
    model.context = row.length + 3
    made = model.choose([row, row], [("a", "b"), ("a", HINT)])
    assert not made[0].error
    assert is_beyond_context(made[1].error)


def test_a_reasoning_that_does_not_fit_is_an_error_row(tiny) -> None:
    """Under --conclude the prompt is asked a second time, with what was written behind it."""

    class Reasons:
        """Reasons at length."""

        def __init__(self, model: Any) -> None:
            self.model = model
            self.max_images, self.context, self.count = 1, model.context, model.count

        def prepare(self, prompts: Any) -> Any:
            return self.model.prepare(prompts)

        def choose(self, prepared: Any, options: Any) -> Any:
            return self.model.choose(prepared, options)

        def generate(self, prepared: Any, decoding: Decoding) -> Any:
            made = self.model.generate(prepared, decoding)
            raws = ["<REASONING> so. </REASONING>", f"<REASONING> {HINT} </REASONING>"]
            return [replace(output, raw=raw) for output, raw in zip(made, raws, strict=True)]

    made = answers(Reasons(loaded(tiny("llava"))), questions("", ""), conclude=True)
    assert [is_beyond_context(p.error) for p in made] == [False, True]


@pytest.mark.parametrize("family", ["llava", "moondream", "kosmos-2"])
def test_an_answer_ends_with_the_context(tiny, family: str) -> None:
    """What is behind the last position would mean nothing; both engines stop there, and say that
    the limit did it."""
    whole = {e: loaded(tiny(family), e) for e in ("harness", "transformers")}
    for model in whole.values():
        model._end_tokens = frozenset({model.tokenizer.bos_token_id})
        prepared = model.prepare([Prompt(text="x " * n, question="x") for n in (3, 40)])
        model.context = prepared[1].length + 4
        made = model.generate(prepared, Decoding(max_new_tokens=12))
        assert [output.tokens for output in made] == [12, 5]
        assert [output.finish for output in made] == ["length", "length"]


@pytest.mark.parametrize(("name", "room"), [("vilt", 40 - 2 - 2 - 2 - 1), ("vilt-vqa", 38)])
def test_vilt_counts_what_it_cuts(tiny, name: str, room: int) -> None:
    """Its question is cut to 40 tokens, as its documentation says: in the record, and counted."""
    model: Any = load(find_checkpoint(str(tiny(name))), LoadOptions(device="cpu", dtype="float32"))
    for words in (3, 200):
        asked = questions("", question="a " * words)
        (made,) = answers(model, asked)
        tokens = len(model.tokenizer("a " * words, add_special_tokens=False)["input_ids"])
        assert made.error is None
        assert (made.truncated > 0) == (words == 200)
        assert made.truncated <= tokens


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({}, None),
        ({"max_position_embeddings": None}, None),
        ({"max_position_embeddings": -1}, None),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default"}}, 4096),
        (
            {
                "max_position_embeddings": 4096,
                "rope_parameters": {"rope_type": "linear", "factor": 4.0},
            },
            16384,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {
                    "rope_type": "longrope",
                    "original_max_position_embeddings": 4096,
                },
            },
            131072,
        ),
    ],
)
def test_the_context_is_the_configs(fields: dict[str, Any], context: int | None) -> None:
    """Positions, stretched where they are; not known where nothing is said."""
    text = SimpleNamespace(**fields)
    assert context_length(SimpleNamespace(get_text_config=lambda: text)) == context


@pytest.mark.parametrize(
    ("text", "keep", "cut"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 4, "ab [...] ef"),
        ("abcdef", 3, "ab [...] f"),
        ("abcdef", 0, ""),
        ("one two three", 8, "one [...] hree"),
        ("", 3, ""),
    ],
)
def test_the_middle_goes(text: str, keep: int, cut: str) -> None:
    """Beginning and end stay, and it can be seen that something is missing."""
    assert without_middle(text, keep) == cut


@pytest.mark.parametrize(
    "dense", [lambda c: 1, lambda c: 3 if c.isdigit() else 0, lambda c: ord(c) % 2]
)
@pytest.mark.parametrize("aim", [30, 100, 900])
def test_as_much_stays_as_fits(dense: Callable[[str], int], aim: int) -> None:
    """However unevenly the tokens lie in the text."""
    asked: list[int] = []

    def count(prompt: Prompt) -> int:
        asked.append(20 + sum(map(dense, prompt.text)))
        return asked[-1]

    def worded(text: str) -> Prompt:
        return Prompt(text=text, question="")

    text = "a" * 500 + "1234567890" * 60 + "b" * 700
    whole = count(worded(text))
    if whole <= aim:
        return
    prompt, tokens = fit(worded, text, count=count, whole=whole, aim=aim)
    assert tokens == count(prompt) <= aim
    assert tokens >= min(aim - SLACK - 30, whole)
    assert len(asked) < 20


def test_the_message_has_both_numbers() -> None:
    """As people write them."""
    assert str(ContextError(4248, 1024)) == "4,248 tokens, context 1,024"
    assert not is_beyond_context("ValueError: 4,248 tokens")
    assert not is_beyond_context(None)


MINE = """
from dataclasses import replace
from tasks.scienceqa import TASK as SCIENCEQA

def prompt(sample, style):
    bare = SCIENCEQA.prompt(sample, style)
    return replace(bare, text=f"{sample.context}\\n{bare.text}")

TASK = replace(SCIENCEQA, name="mine", prompt=prompt)
"""
"""ScienceQA with its hints, which the paper's prompt leaves out."""


@pytest.fixture
def case(tiny, tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint with a short context, and questions of which one has a long hint."""
    shutil.copytree(tiny("llava"), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = LIMIT
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    draw_questions(tmp_path / "data")
    file = tmp_path / "data" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()][:8]
    rows[5]["hint"] = HINT
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.mark.parametrize("more", [(), ("--workers", 1), ("--mode", "loglikelihood")], ids=str)
@pytest.mark.process
def test_a_run_counts_and_tells_them(command, case: Path, more: Any) -> None:
    """Exit 4 and a line for the error rows; with --truncate exit 0 and a line for the shortened."""
    arguments = (
        *("eval", "--model", case / "model", "--task", case / "mine.py", "--data", case / "data"),
        *("--runs", case / "runs", "--device", "cpu", *more),
        *(() if "loglikelihood" in more else ("--max-new-tokens", 8)),
    )
    result = command(*arguments)
    assert result.code == 4, result.stderr
    assert "1 prompt beyond the model's context" in result.stdout
    assert f"tokens, context {LIMIT}" in result.stderr
    folder = case / "runs" / "mine" / "model" / "test"
    record = json.loads((folder / "run.json").read_text())
    assert (record["counts"]["beyond_context"], record["counts"]["truncated"]) == (1, 0)
    assert record["settings"]["model"]["context"] == LIMIT
    # Another prompt is another run.
    assert command(*arguments, "--truncate").code == 2
    result = command(*arguments, "--truncate", "--fresh")
    assert result.code == 0, result.stderr
    assert "1 prompt shortened to the model's context" in result.stdout
    record = json.loads((folder / "run.json").read_text())
    assert (record["counts"]["beyond_context"], record["counts"]["truncated"]) == (0, 1)
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert [row["truncated"] > 0 for row in rows] == [n == 5 for n in range(8)]


def test_truncate_needs_a_model_that_is_loaded_here(command) -> None:
    """A server's tokens are not counted here."""
    result = command(
        *("eval", "--model", "openai:x", "--base-url", "http://127.0.0.1:9", "--task", "scienceqa"),
        "--truncate",
    )
    assert result.code == 2
    assert "--truncate does nothing without a model that is loaded here" in result.stderr


@pytest.mark.parametrize("truncate", [False, True])
def test_a_teachers_prompts_are_counted_too(command, case: Path, truncate: bool) -> None:
    """As failed, with the reason, or as shortened; never asked beyond the context in silence."""
    arguments = (
        *("distill", "rationales", "--teacher", case / "model", "--data", case / "data"),
        *("--task", case / "mine.py"),
        *("--split", "test", "--limit", 8, "--teacher-tokens", 8, "--runs", case / "runs"),
        *("--device", "cpu", "--teacher-input", "question"),
    )
    result = command(*arguments, *["--truncate"] * truncate)
    folder = case / "runs" / "distill" / "moondream-kd"
    counts = json.loads((folder / "rationales.json").read_text())["counts"]
    rows = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    if truncate:
        assert (counts["failed"], counts["truncated"]) == (0, 1)
        assert "1 asked with a shortened context text" in result.stdout
        assert sum(row["truncated"] > 0 for row in rows) == 1
        return
    assert result.code == 4
    assert (counts["failed"], counts["truncated"], len(rows)) == (1, 0, 7)
    assert counts["reasons"]["prompt beyond the teacher's context"] == 1
    assert "1 dropped: prompt beyond the teacher's context" in result.stdout
