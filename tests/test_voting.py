"""Self-consistency: several sampled answers to a question, and the one that most of them give."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.types import (
    REFUSAL,
    Decoding,
    Extraction,
    Output,
    Prediction,
    Prompt,
    Sample,
)
from harness.run.records import prediction_from_json, prediction_to_json
from harness.run.runner import PromptSettings, Runner
from harness.run.scoring import extract_again
from harness.run.voting import seeds, winner
from tests.test_evaluate import only, predictions
from tests.test_runner import TASK, Likes

LETTERS = replace(
    TASK,
    extract=lambda raw, choices: Extraction(
        "ABC".index(raw[-1]) if raw[-1:] in set("ABC") else None, "letter"
    ),
)


@pytest.fixture
def evaluate(command: Any, tiny: Callable[..., Path], drawn: Path, tmp_path: Path) -> Any:
    """`harness eval` with a tiny model on the drawn questions; later options win."""
    usual = ("--task", "scienceqa", "--data", drawn, "--max-new-tokens", 6, "--json")

    def run(*more: object) -> Any:
        folder = tmp_path / "runs"
        return command("eval", "--model", tiny("llava-next"), "--runs", folder, *usual, *more)

    return run


@pytest.mark.parametrize(
    ("answers", "won"),
    [
        ([0, 1, 1], 1),
        ([2, 1, 1, 2], 0),  # as many votes: the one that was sampled first
        ([None, None, 1], 2),
        ([None, None], 0),
        (["red fox", "Cat", "cat."], 1),
        (["", "dog"], 1),
        ([3], 0),
    ],
)
def test_the_majority_wins(answers: Sequence[Any], won: int) -> None:
    """An answer that cannot be parsed has no vote; words are compared without case and stops."""
    assert winner(answers) == won


def test_each_answer_has_a_seed_of_its_own() -> None:
    """The first one is that of a run without votes; they stay within 32 bits."""
    assert seeds(7, 3) == [7, 8, 9]
    assert seeds(2**32 - 1, 2) == [2**32 - 1, 0]


class Sampled(Likes):
    """Writes the letters that it was given, one for each time that it is asked."""

    def __init__(self, *letters: str) -> None:
        super().__init__()
        self.letters = list(letters)
        self.seeds: list[int] = []

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        self.seeds.append(decoding.seed)
        letter = self.letters.pop(0)
        error = "broken" if letter == "!" else ""
        return [
            Output(f"It is {letter}", p.text, 10, 4, finish="stop", error=error) for p in prepared
        ]


def asked(model: Sampled, votes: int) -> list[Prediction]:
    samples = [
        Sample(id=str(i), question=str(i), target=1, choices=("x", "y", "z")) for i in range(2)
    ]
    return Runner(
        model, LETTERS, prompts=PromptSettings(style="direct", votes=votes),
        decoding=Decoding(max_new_tokens=4, temperature=0.7, seed=3), digests={},
    ).answer(samples)  # fmt: skip


def test_all_answers_are_in_the_row() -> None:
    """The whole batch is asked for each vote; the row has them all, with seeds and tokens."""
    model = Sampled("A", "B", "?", "B")
    made = asked(model, 4)
    assert model.letters == []
    assert len(set(model.seeds)) == 4
    for prediction in made:
        assert prediction.answer == 1
        assert prediction.raw == "It is B"
        assert prediction.correct
        assert prediction.tokens == 16
        assert [vote.answer for vote in prediction.votes] == [0, 1, None, 1]
        assert [vote.seed for vote in prediction.votes] == model.seeds
        assert prediction_from_json(json.loads(json.dumps(prediction_to_json(prediction)))) == (
            prediction
        )


def test_a_vote_that_fails_fails_its_question() -> None:
    """A majority of fewer answers would be another measure; the question is tried again."""
    made = asked(Sampled("A", "!", "A"), 3)
    assert [p.error for p in made] == ["broken", "broken"]
    assert all(p.votes == () for p in made)


def test_votes_are_counted_again_when_answers_are_extracted_again() -> None:
    """By another rule other texts may win."""
    (prediction, _) = asked(Sampled("A", "B", "B"), 3)

    def other(raw: str, choices: Sequence[str]) -> Extraction:
        return Extraction(2 if raw == "It is A" else None, "other")

    again = extract_again(prediction, other)
    assert (again.answer, again.raw, again.rule) == (2, "It is A", "other")
    assert [vote.answer for vote in again.votes] == [2, None, None]
    assert again.scores == {}
    assert extract_again(prediction, LETTERS.extract) == prediction


class Refusing(Sampled):
    """Refuses in words that have the letter A."""

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        outputs = super().generate(prepared, decoding)
        return [replace(o, finish=REFUSAL) if o.raw == "It is A" else o for o in outputs]


def test_a_refusal_has_no_vote() -> None:
    """Nor when answers are extracted again: its words are about the question."""
    (prediction, _) = asked(Refusing("A", "A", "B"), 3)
    assert (prediction.answer, prediction.raw) == (1, "It is B")
    assert extract_again(prediction, LETTERS.extract) == prediction
    none = extract_again(prediction, lambda raw, choices: Extraction(None, "none"))
    assert (none.answer, none.finish, none.rule) == (None, REFUSAL, REFUSAL)
    assert extract_again(none, LETTERS.extract).answer == 1


def test_a_vote_for_no_option_is_refused() -> None:
    """A run folder can come from anywhere."""
    row = prediction_to_json(asked(Sampled("A", "B", "B"), 3)[0])
    row["votes"][0]["answer"] = 9
    with pytest.raises(ValueError, match="none of its 3 choices"):
        prediction_from_json(json.loads(json.dumps(row)))


def test_a_resumed_run_has_the_same_votes(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    """From end to end: seeds and votes are recorded, and another number of votes is refused."""
    how = ("--votes", 3, "--temperature", 0.9, "--batch-size", 2)
    whole = only(evaluate(*how, "--limit", 4, "--runs", tmp_path / "whole"))
    assert whole["settings"]["votes"] == 3
    assert whole["fingerprint"]["mode"].endswith("majority of 3")
    only(evaluate(*how, "--limit", 2))
    resumed = only(evaluate(*how, "--limit", 4))
    assert predictions(resumed) == predictions(whole)
    for row in predictions(whole):
        assert len({vote["seed"] for vote in row["votes"]}) == 3
        assert row["tokens"] == sum(vote["tokens"] for vote in row["votes"])
    other = evaluate("--votes", 2, "--temperature", 0.9, "--batch-size", 2, "--limit", 4)
    assert other.code != 0
    assert "mode" in other.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--votes", 3), "--votes does nothing without a --temperature"),
        (("--votes", 3, "--temperature", 1, "--conclude", "--style", "structured"),
         "--votes and --conclude"),
    ],
)  # fmt: skip
def test_what_cannot_vote(
    evaluate: Callable[..., Any], options: tuple[Any, ...], words: str
) -> None:
    """Greedy answers are all the same, and a conclusion has one likelihood."""
    result = evaluate(*options)
    assert result.code != 0
    assert words in result.stderr
