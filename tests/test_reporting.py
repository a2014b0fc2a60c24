"""What is gathered for the page: runs with their answers, distillations with what they left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from distill import pipeline, train
from harness import reporting
from harness.records import RunFolder
from harness.structured import Rationale, render
from harness.types import Prediction
from tests.test_leaderboard import choice_run


def folder(runs: Path, name: str, **files: Any) -> Path:
    """runs/distill/NAME with these files: objects as .json, lists of objects as .jsonl."""
    path = runs / "distill" / name
    path.mkdir(parents=True)
    for stem, content in files.items():
        if isinstance(content, list):
            lines = "".join(json.dumps(row) + "\n" for row in content)
            (path / f"{stem}.jsonl").write_text(lines)
        else:
            (path / f"{stem}.json").write_text(
                content if isinstance(content, str) else json.dumps(content)
            )
    return path


def run(runs: Path, name: str, **parts: Any) -> RunFolder:
    made = RunFolder.of(runs, task="scienceqa", model=name, split="test")
    made.path.mkdir(parents=True)
    made.write_record(choice_run(name=name, title=name, **parts))
    return made


def test_the_names_are_those_that_distilling_uses() -> None:
    """They are written down twice, because a page loads no torch."""
    assert (reporting.RECORD, reporting.LOG) == (train.RECORD, train.LOG)
    assert (reporting.QUALITY, reporting.CONTROL) == (pipeline.QUALITY, pipeline.CONTROL)
    code = "import sys, harness.reporting; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_answers_are_read_when_asked_for(tmp_path: Path) -> None:
    """Each run brings its own, and a run without any has none."""
    answer = Prediction(
        sample_id="7",
        raw="B",
        answer=1,
        rule="leading letter",
        correct=True,
        target=1,
        choices=("x", "y"),
    )
    run(tmp_path, "one").append([answer])
    run(tmp_path, "two")
    material, broken = reporting.gather(tmp_path)
    assert not broken
    assert [list(each.predictions()) for each in material.runs] == [[answer], []]


def test_a_distillation_is_put_together(tmp_path: Path) -> None:
    """Its rationales, training, control and quality, with the runs of student, base and teacher."""
    for name, weights in (("kd", "w1"), ("kd-answer-only", "w2"), ("base", "w0"), ("big", "w9")):
        run(tmp_path, name, fingerprint={"weights": weights})
    step = {"step": 1, "loss": 2.5}
    state = {"status": "complete", "base": "elsewhere", "fingerprint": {"weights": "w0"}}
    teacher = {"fingerprint": {"weights": "other"}, "teacher": {"name": "big"}}
    folder(
        tmp_path,
        "kd",
        distill=state,
        training_log=[step],
        rationales=teacher,
        rejected=[{"id": "1", "reasons": ["too long"]}],
        quality={"teacher": {}},
    )
    folder(tmp_path, "kd-answer-only", distill=state, training_log=[step, step])
    material, _ = reporting.gather(tmp_path)
    (found,) = material.distillations
    assert found.training is not None
    assert found.control is not None
    assert found.training.record == state
    assert (len(found.training.log()), len(found.control.log())) == (1, 2)
    assert found.rationales == teacher
    assert found.rejected() == [{"id": "1", "reasons": ["too long"]}]
    assert (found.kept(), found.quality, found.problems) == ([], {"teacher": {}}, ())
    groups = (found.training.runs, found.control.runs, found.base, found.teacher)
    names = [[each.record.model.name for each in group] for group in groups]
    assert names == [["kd"], ["kd-answer-only"], ["base"], ["big"]]


def test_a_broken_distillation_says_what_is_broken(tmp_path: Path) -> None:
    """The rest is shown: a cut line is left out, a file that is no object is named."""
    path = folder(tmp_path, "kd", distill="{", rationales={"counts": {}}, quality="[]")
    (path / "training_log.jsonl").write_text('{"step": 1}\n[]\n{"st')
    folder(tmp_path, "alone-answer-only", distill={"status": "running"})
    folder(tmp_path, "empty")
    material, _ = reporting.gather(tmp_path)
    alone, found = material.distillations
    assert (alone.name, found.name) == ("alone-answer-only", "kd")
    assert [problem.split()[0] for problem in found.problems] == ["distill.json", "quality.json"]
    assert found.training is None


def test_structure_is_that_of_the_answers() -> None:
    """Shares of what is tagged, and the ids of right reasoning with a wrong conclusion."""
    raw = render(Rationale("Look.", "A map.", "So it is Illinois.", "A"))
    wrong = Prediction(
        sample_id="3",
        raw=raw,
        answer=0,
        rule="conclusion",
        correct=False,
        target=1,
        choices=("Ohio", "Illinois"),
    )
    found = reporting.gather(Path("nowhere"))[0].structure([wrong])
    assert found.reasoning_to_error == ("3",)
    assert found.figures["well_formed"].value == 1
