"""Few-shot examples: no question is shown with its own answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.core.errors import HarnessError, SampleError
from harness.core.images import ImageRef
from harness.core.types import Sample
from harness.data.shots import Shots
from harness.run.folder import RunFolder
from tasks import load_task

SCIENCEQA = load_task("scienceqa")


def picture(colour: str, form: str = "PNG") -> ImageRef:
    file = BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, form)
    return ImageRef(f"{colour}.{form}", file.getvalue)


def missing(name: str) -> ImageRef:
    def read() -> bytes:
        raise SampleError("missing")

    return ImageRef(name, read)


ASKED = Sample(
    id="asked",
    question="Which state is farthest north?",
    target=1,
    choices=("Ohio", "Maine"),
    images=(picture("red"),),
)
BLIND = replace(ASKED, images=(), context="Look at the map.")
OTHERS = [
    Sample(id=f"other {at}", question=f"Why {at}?", target=0, choices=("x", "y")) for at in range(3)
]


def shown(asked: Sample, train: list[Sample], number: int = 1) -> tuple[str, ...]:
    return Shots(SCIENCEQA, train, number)(asked)


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (ASKED, ASKED),
        (ASKED, replace(ASKED, question="In other words?", images=())),
        (ASKED, replace(ASKED, id="x")),
        (ASKED, replace(ASKED, id="x", question="  which state is FARTHEST north")),
        (ASKED, replace(ASKED, id="x", question="Which state is \uff46\uff41rthest north\uff1f")),
        (ASKED, replace(ASKED, id="x", choices=("Maine", "Ohio"), target=0)),
        (ASKED, replace(ASKED, id="x", choices=("Maine", "Utah", "Iowa"), target=0)),
        (ASKED, replace(ASKED, id="x", images=(picture("red", "BMP"),))),
        (ASKED, replace(ASKED, id="x", images=(picture("red", "TIFF"),), topic="maps")),
        (ASKED, replace(ASKED, id="x", images=())),
        (replace(ASKED, images=(missing("a"),)), replace(ASKED, id="x", images=(missing("a"),))),
        (BLIND, replace(BLIND, id="x")),
        (BLIND, replace(BLIND, id="x", choices=("Maine", "Ohio"), target=0)),
        (BLIND, replace(BLIND, id="x", choices=("Utah", "Maine"))),
        (BLIND, replace(BLIND, id="x", context="look at the map")),
        (
            Sample(id="1", numbered=True, question="Why?", target="Because."),
            Sample(id="8", numbered=True, question="why", target="Therefore."),
        ),
    ],
)
def test_a_question_is_never_shown_with_its_own_answer(asked: Sample, same: Sample) -> None:
    """By its id, and by what it shows and says, however it is written down."""
    assert shown(asked, [same, *OTHERS]) == ("Why 0? Options: A: x, B: y\nAnswer: A",)
    with pytest.raises(HarnessError, match=r"there are 0 other questions to show before question"):
        shown(asked, [same])


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        (ASKED, replace(ASKED, id="x", images=(picture("blue"),))),
        (ASKED, replace(ASKED, id="x", question="Which state is farthest south?")),
        (BLIND, replace(BLIND, id="x", context="Look at the other map.")),
        (BLIND, replace(BLIND, id="x", choices=("Utah", "Iowa"))),
        (replace(ASKED, numbered=True), replace(OTHERS[0], id="asked", numbered=True)),
        (ASKED, replace(ASKED, id="x", images=(missing("a"),))),
    ],
)
def test_another_question_is_shown(asked: Sample, other: Sample) -> None:
    """The same words with another picture, and the same row number in another split."""
    assert len(shown(asked, [other])) == 1


def test_examples_are_the_first_others() -> None:
    """The same for all questions but those that are among them; as many as were asked for."""
    train = [ASKED, *OTHERS]
    shots = Shots(SCIENCEQA, train, 2)
    assert shots(replace(OTHERS[2], id="z", question="Else?")) == shots.usual
    assert [text[:5] for text in shots(ASKED)] == ["Why 0", "Why 1"]
    assert [text[:5] for text in shots(OTHERS[0])] == ["Which", "Why 1"]
    assert "Answer: B" in shots.usual[0]
    with pytest.raises(HarnessError, match=r"^--shots 4: there are 3 other questions") as caught:
        Shots(SCIENCEQA, train, 4)(ASKED)
    assert "The train split has 4" in caught.value.known


@pytest.fixture
def asked_with_shots(command, tiny, tmp_path: Path) -> Callable[..., Any]:
    """`harness eval --shots` on a file of six questions that names no split."""
    root = tmp_path / "data"
    root.mkdir()
    rows = []
    for at, colour in enumerate(("red", "lime", "blue", "white", "black", "gray")):
        (root / f"{at}.png").write_bytes(picture(colour).read())
        rows.append({"image": f"{at}.png", "question": f"No. {at}?", "choices": ["x", "y"]})
        rows[-1]["answer"] = at % 2
    (root / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*more: object) -> Any:
        return command(
            *("eval", "--model", tiny("llava"), "--task", "scienceqa", "--json"),
            *("--data", root / "questions.jsonl", "--runs", tmp_path / "runs"),
            *("--max-new-tokens", 2, *more),
        )

    return run


def test_a_file_without_splits_shows_other_questions(asked_with_shots) -> None:
    """Every prompt has as many, and none of them is the question asked."""
    result = asked_with_shots("--shots", 3)
    assert result.code == 0, result.stderr
    folder = RunFolder(Path(result.json["runs"][0]["folder"]))
    for prediction in folder.read_predictions():
        assert prediction.prompt.count("Answer: ") == 3
        assert prediction.prompt.count(prediction.question) == 1
    refused = asked_with_shots("--shots", 6, "--name", "more")
    assert refused.code == 2
    assert "there are 5 other questions" in refused.json["errors"][0]["what"]


def test_a_run_in_which_questions_were_shown_with_their_answers_is_refused(
    asked_with_shots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier versions made them: they have the hash of the first questions alone."""
    folder = RunFolder(Path(asked_with_shots("--shots", 2, "--limit", 2).json["runs"][0]["folder"]))
    monkeypatch.setattr(Shots, "__call__", lambda self, sample: self.usual)
    older = Path(asked_with_shots("--shots", 2, "--name", "older").json["runs"][0]["folder"])
    monkeypatch.undo()
    record = folder.existing_record()
    old = dict(RunFolder(older).existing_record().fingerprint)
    folder.write_record(
        replace(record, fingerprint={k: v for k, v in old.items() if k != "wording"})
    )
    result = asked_with_shots("--shots", 2)
    assert result.code == 2
    assert ": prompt" in result.json["errors"][0]["what"]
