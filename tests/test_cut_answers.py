"""Answers that a token limit cut: known to every engine, given to the extractor, counted, shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.resolve import find_checkpoint
from harness.core.finish import is_cut, is_finished
from harness.core.types import (
    Decoding,
    Extraction,
    Output,
    Prompt,
)
from harness.models.loading import LoadOptions, load
from harness.run.folder import RunFolder
from harness.run.prompting import PromptSettings
from harness.run.runner import Runner
from harness.run.shuffling import extract_answer
from tasks import load_task
from tests.test_runner import TASK, Told, make_samples
from tests.test_scoring import CHOICES, choice_rows, write
from tests.test_tasks import MINE


@pytest.mark.parametrize(
    ("finish", "finished", "cut"),
    [
        ("stop", True, False),
        ("end_turn", True, False),
        ("EOS_TOKEN", True, False),
        ("stop-sequence", True, False),
        ("length", False, True),
        ("MAX_TOKENS", False, True),
        ("model_length", False, True),
        (" max_output_tokens ", False, True),
        ("content_filter", False, False),
        ("abort", False, False),
        ("tool_calls", None, False),
        ("refusal", None, False),
        ("", None, False),
    ],
)
def test_what_servers_call_the_end_of_an_answer(
    finish: str, finished: bool | None, cut: bool
) -> None:
    """Their words differ; what is not known is not guessed."""
    assert (is_finished(finish), is_cut(finish)) == (finished, cut)


@pytest.mark.parametrize("engine", ["harness", "transformers"])
def test_a_local_model_says_why_an_answer_ended(tiny, engine: str) -> None:
    """Length where the limit came first; stop behind an end token or the text that ends a stage."""
    options = LoadOptions(device="cpu", dtype="float32", engine=engine)
    model: Any = load(find_checkpoint(str(tiny("llava"))), options)
    prepared = model.prepare([Prompt(text="Which of these is it?", question="")])

    def answer(**decoding: Any) -> Output:
        (output,) = model.generate(prepared, Decoding(**{"max_new_tokens": 8, **decoding}))
        return output

    cut = answer()
    assert (cut.tokens, cut.finish) == (8, "length")
    stopped = answer(stop=cut.raw[:3])
    assert stopped.finish == "stop"
    assert stopped.tokens < 8
    last = model.tokenizer.encode(cut.raw, add_special_tokens=False)[0]
    model._end_tokens = frozenset({last})
    if engine == "transformers":
        model.network.generation_config.eos_token_id = [last]
    ended = answer()
    assert (ended.tokens, ended.finish) == (1, "stop")
    assert answer(max_new_tokens=1).finish == "stop"  # at the limit, and yet by itself


def test_the_extractor_is_told_whether_the_model_ended_the_answer() -> None:
    """True, False or None, and only to a reader that takes it."""
    told: list[bool | None] = []

    def read(raw: str, choices: Any, *, finished: bool | None = None) -> Extraction:
        told.append(finished)
        return Extraction(0, "letter", span=(0, 1))

    model = Told(q0={"finish": "length"}, q1={"finish": "stop"})
    runner = Runner(
        model,
        replace(TASK, extract=read),
        prompts=PromptSettings(style="direct"),
        decoding=Decoding(max_new_tokens=9),
        digests={},
        clock=model.clock,
    )
    made = runner.answer(make_samples(3))
    assert told == [False, True, None]
    assert [p.span for p in made] == [(0, 1)] * 3


def test_a_span_stays_where_options_were_shuffled() -> None:
    """The answer is mapped back; where it stands in the text is as it was."""
    found = extract_answer(
        lambda raw, choices: Extraction(0, "x", (2, 3)), "  B", ["a", "b"], (1, 0)
    )
    assert (found.answer, found.span) == (1, (2, 3))


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        ("lambda raw, choices: Extraction(raw, 'all')", "The answer"),
        ("lambda raw, choices, **more: Extraction(str(more['finished']), 'all')", "False"),
        ("lambda raw, choices, *, finished=True: Extraction(str(finished), 'all')", "False"),
    ],
)
def test_a_users_own_reader_need_not_take_it(tmp_path: Path, read: str, answer: str) -> None:
    """Two arguments are enough, as they always were."""
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace('lambda raw, choices: Extraction(raw, "all")', read))
    found = extract_answer(load_task(str(path)).read, "The answer", (), finished=False)
    assert found.answer == answer


def test_cut_answers_are_counted_beside_the_unparsed(command, tiny, drawn, tmp_path: Path) -> None:
    """In run.json, on the terminal and on the page; a run of before has no such figure."""
    runs = tmp_path / "runs"
    model = tiny("llava")
    done = command(
        "eval", "--model", model, "--task", "scienceqa", "--data", drawn, "--limit", 3, "--device",
        "cpu", "--max-new-tokens", 2, "--runs", runs,
    )  # fmt: skip
    assert "3 answers cut at the token limit of 2 new tokens" in done.stdout
    folder = RunFolder(next(runs.glob("*/*/*")))
    record = folder.existing_record()
    assert record.counts.cut == 3
    page = tmp_path / "page.html"
    assert command("report", "--runs", runs, "--out", page, "--images", "none").code == 0
    assert "answers cut at the token limit" in page.read_text()
    before = [replace(p, finish="") for p in folder.read_predictions()]
    folder.rewrite(before)
    assert command("rescore", folder.path, "--json").json["counts"]["cut"] is None
    assert "token limit" not in command("show", folder.path).stdout
    assert command("report", "--runs", runs, "--out", page, "--images", "none").code == 0
    assert "answers cut at the token limit" not in page.read_text()


@pytest.mark.parametrize(
    ("fields", "finish"),
    [
        ({}, ""),
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": None, "finished": True}, "stop"),
        ({"finished": False}, "length"),
        ({"finish_reason": "stop", "finished": False}, "stop"),
        ({"finished": None}, ""),
    ],
)
def test_answers_made_elsewhere_may_say_it(
    command, tmp_path: Path, fields: dict[str, Any], finish: str
) -> None:
    """`finish_reason` as servers write it, or `finished`."""
    file = write(tmp_path / "a.jsonl", [{**choice_rows(["B"])[0], **fields}])
    run = command("score", file, "-t", "scienceqa", "--runs", tmp_path / "r", "--json").json
    assert RunFolder(Path(run["folder"])).read_predictions()[0].finish == finish
    assert run["counts"]["cut"] == (None if not finish else int(finish == "length"))


@pytest.mark.parametrize("fields", [{"finished": "no"}, {"finished": 0}, {"finish_reason": 3}])
def test_what_is_no_end_is_refused(command, tmp_path: Path, fields: dict[str, Any]) -> None:
    """With the line and the field."""
    file = write(tmp_path / "a.jsonl", [{**choice_rows(["B"])[0], **fields}])
    result = command("score", file, "-t", "scienceqa", "--runs", tmp_path / "r")
    assert result.code == 3
    assert f"line 1, field '{next(iter(fields))}'" in result.stderr


INVALID = [
    ({"choices": ["only one"]}, "must be a list of 2 to 26 texts, found ['only one'] (list of 1)"),
    ({"choices": ["x"] * 30}, "(list of 30)"),
    ({"choices": "A, B"}, "(str)"),
    ({"target": 3}, "its place, 0 to 2"),
    ({"raw": None}, "must be text"),
    ({"id": 0}, "is there twice"),
    ({"image": "../../x.png"}, "leads out of the data folder"),
]


def test_rows_that_are_no_question_are_left_out_where_that_is_asked_for(
    command, tmp_path: Path
) -> None:
    """Counted and listed, each with its line; without --skip-invalid the first one is refused."""
    good = choice_rows(["B", "A"])
    bad = [{**good[0], "id": f"bad{i}", **fields} for i, (fields, _) in enumerate(INVALID)]
    file = write(tmp_path / "a.jsonl", [*good, *bad])
    file.write_text(f'{file.read_text()}["no", "object"]\n{{"id": "cut\n')
    arguments = ("score", file, "-t", "scienceqa", "--runs", tmp_path / "r")
    refused = command(*arguments)
    assert refused.code == 3
    assert INVALID[0][1] in refused.stderr
    assert "--skip-invalid" in refused.stderr
    done = command(*arguments, "--skip-invalid")
    assert done.code == 0
    assert "2 questions, of 11 in all" in done.stdout
    assert done.stderr.count("Skipped: ") == 5
    assert "... and 4 more" in done.stderr
    record = RunFolder(next((tmp_path / "r").glob("*/*/*"))).existing_record()
    assert (record.counts.total, record.counts.available) == (11, 2)
    assert record.counts.filtered == {"no question": 9}
    expected = [*(words for _, words in INVALID), "must be an object", "not valid JSON"]
    for line, words in zip(record.settings["skipped"], expected, strict=True):
        assert words in line
    assert command("score", write(tmp_path / "b.jsonl", bad[:2]), *arguments[2:], "-m", "none",
                   "--skip-invalid").code == 3  # fmt: skip


@pytest.mark.parametrize("reference", ["", "  \n "])
def test_an_empty_reference_is_refused(command, tmp_path: Path, reference: str) -> None:
    """As `harness eval` refuses a question without an answer."""
    rows = [{"id": "7", "raw": "a cat", "target": reference}]
    result = command(
        "score", write(tmp_path / "a.jsonl", rows), "-t", "vqaonline", "--runs", tmp_path / "r"
    )
    assert result.code == 3
    assert "line 1, field 'target': must not be empty" in result.stderr


def test_a_file_that_was_scored_before_is_still_the_same_run(command, tmp_path: Path) -> None:
    """Whatever extractor, or version of the record, the run that is there was made with."""
    file = write(tmp_path / "a.jsonl", choice_rows(["B", "Illinois"]))
    arguments = ("score", file, "-t", "scienceqa", "--runs", tmp_path / "r", "--json")
    folder = RunFolder(Path(command(*arguments).json["folder"]))
    lines = [json.loads(line) for line in folder.predictions_path.read_text().splitlines()]
    assert lines[1]["choices"] == CHOICES
    lines[1] |= {"answer": None, "rule": "of another version", "correct": False}
    del lines[1]["span"]
    folder.predictions_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = folder.existing_record()
    old = {**record.fingerprint, "answers": "sha256:of-another-version"}
    folder.write_record(replace(record, fingerprint=old))
    again = command(*arguments)
    assert again.code == 0, again.stderr
    assert again.json["metrics"]["accuracy"]["value"] == 1
    other = write(tmp_path / "a.jsonl", choice_rows(["B", "B"]))
    assert command("score", other, *arguments[2:]).code == 2
