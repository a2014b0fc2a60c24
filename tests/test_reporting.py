"""What is gathered for the page: runs with their answers, distillations with what they left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.cli import report
from harness.core.types import DataOptions, Prediction
from harness.run.folder import RunFolder
from reports.inputs import discovery as reporting
from tasks import load_task
from tests import made_up, unpacked
from tests.conftest import Result
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


@pytest.mark.process
def test_a_page_loads_no_torch() -> None:
    """Though it reads the files of distillations by the names that distilling gives them."""
    code = "import sys, reports.inputs.discovery; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_answers_are_read_when_asked_for(tmp_path: Path) -> None:
    """Each run brings its own, and a run without any has none."""
    answer = Prediction(
        sample_id="7",
        raw="B",
        answer=1,
        rule="leading letter",
        scores={"accuracy": 1.0},
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


# Pictures


def answered(runs: Path, data: Path, **parts: Any) -> RunFolder:
    """A run on drawn questions, the first of which is answered wrong."""
    samples = load_task("scienceqa").load(DataOptions(path=data)).samples[:3]
    task = replace(choice_run().task, **{"source": str(data), "revision": None} | parts)
    made = run(runs, "mine", task=task)
    made.append(
        [
            Prediction(
                sample_id=sample.id,
                raw="?" if place == 0 else "ABCD"[int(sample.target)],
                answer=None if place == 0 else sample.target,
                rule="leading letter",
                scores={"accuracy": float(place > 0)},
                target=sample.target,
                question=sample.question,
                choices=sample.choices,
                topic=sample.topic,
                images=tuple(image.digest() for image in sample.images),
            )
            for place, sample in enumerate(samples)
        ]
    )
    return made


def pictures_in(page: Path) -> int:
    text = page.read_text(encoding="utf-8")
    return sum(len(group["sizes"]) for group in unpacked.groups(text))


def test_pictures_come_from_the_runs_own_data(
    tmp_path: Path, questions: Path, command: Callable[..., Result]
) -> None:
    """Those whose bytes were answered, and no other: one that was changed since is left out."""
    answered(tmp_path / "runs", questions)
    out = tmp_path / "page.html"
    assert command("report", "--runs", tmp_path / "runs", "--out", out).code == 0
    assert pictures_in(out) == 3
    sample = load_task("scienceqa").load(DataOptions(path=questions)).samples[0]
    path = questions / sample.images[0].label
    Image.new("RGB", (20, 20)).save(path)
    done = command("report", "--runs", tmp_path / "runs", "--out", out)
    assert (done.code, pictures_in(out)) == (0, 2)
    assert "1 question is shown without its image" in out.read_text(encoding="utf-8")


def test_moved_data_are_told_and_can_be_named(
    tmp_path: Path, questions: Path, command: Callable[..., Result]
) -> None:
    """The page is made without pictures, says why, and --data brings them back."""
    answered(tmp_path / "runs", questions)
    questions.rename(tmp_path / "elsewhere")
    out = tmp_path / "page.html"
    arguments = ("report", "--runs", tmp_path / "runs", "--out", out)
    done = command(*arguments)
    assert (done.code, pictures_in(out)) == (0, 0)
    assert "No images of scienceqa, test split" in done.stderr
    assert "--data scienceqa=PATH" in done.stderr
    assert "No images of scienceqa, test split" in out.read_text(encoding="utf-8")
    done = command(*arguments, "--data", f"scienceqa={tmp_path / 'elsewhere'}")
    assert (done.code, done.stderr, pictures_in(out)) == (0, "", 3)


OWN = """
from dataclasses import replace
from pathlib import Path
from tasks import scienceqa
Path({told!r}).write_text("ran")
TASK = replace(scienceqa.TASK, name="mine")
"""


def test_a_task_file_is_run_only_where_it_is_named(
    tmp_path: Path, questions: Path, command: Callable[..., Result]
) -> None:
    """Whatever a record says of it: a record may come from anywhere."""
    told, own = tmp_path / "told", tmp_path / "mine.py"
    own.write_text(OWN.format(told=str(told)))
    answered(tmp_path / "runs", questions, name="mine")
    out = tmp_path / "page.html"
    arguments = ("report", "--runs", tmp_path / "runs", "--out", out)
    done = command(*arguments)
    assert (done.code, pictures_in(out), told.exists()) == (0, 0, False)
    assert "--task FILE" in done.stderr
    assert command(*arguments, "--task", own).code == 0
    assert (pictures_in(out), told.exists()) == (3, True)


def test_what_is_shown_is_chosen(
    tmp_path: Path, questions: Path, command: Callable[..., Result], monkeypatch: Any
) -> None:
    """All samples, those that were answered wrong, or none; with pictures or without; the same
    twice gives the same bytes, and a page that is too large names what makes it smaller."""
    answered(tmp_path / "runs", questions)

    def page(*options: str) -> tuple[Result, Path]:
        out = tmp_path / "page.html"
        return command("report", "--runs", tmp_path / "runs", "--out", out, *options), out

    found = {}
    for options in ((), ("--samples", "errors"), ("--samples", "none"), ("--images", "none")):
        done, out = page(*options)
        assert (done.code, done.stderr) == (0, "")
        found[options] = (pictures_in(out), out.read_bytes())
    assert page()[1].read_bytes() == found[()][1]
    assert [pictures for pictures, _ in found.values()] == [3, 1, 0, 0]
    shown = [unpacked.groups(text.decode())[0]["entries"] for _, text in found.values()]
    assert [len(each) for each in shown] == [3, 1, 0, 3]
    monkeypatch.setattr(report, "LARGE_PAGE", 1000)
    told = page()[0].stderr
    for option in ("--images none", "--samples errors", "--samples none"):
        assert option in told
    told = page("--samples", "errors", "--images", "none")[0].stderr
    assert "--samples none" in told
    assert "--images" not in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--data", "scienceqa"), "write TASK=PATH"),
        (("--data", "scienceqa=nowhere"), "there is no nowhere"),
        (("--data", "a=.", "--data", "a=."), "given twice"),
        (("--data", "a=.", "--images", "none"), "is to have none"),
        (("--task", "x.py"), "no task file"),
        (("--samples", "some"), "Invalid value"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, command: Callable[..., Result], options: tuple[str, ...], told: str
) -> None:
    """Before anything is written."""
    out = tmp_path / "page.html"
    (tmp_path / "runs").mkdir()
    done = command("report", "--runs", tmp_path / "runs", "--out", out, *options)
    assert done.code in {2, 3}
    assert told in done.stderr
    assert not out.exists()


def test_answers_that_cannot_be_read_leave_the_row(
    tmp_path: Path, questions: Path, command: Callable[..., Result]
) -> None:
    """The record is on the page, its answers are not, and the exit code says that they are broken;
    it is told once."""
    made = answered(tmp_path / "runs", questions)
    made.predictions_path.write_text("{}\n")
    done = command("report", "--runs", tmp_path / "runs", "--out", tmp_path / "page.html")
    assert done.code == 3
    assert done.stderr.count("is not a prediction") == 1
    assert ">mine<" in (tmp_path / "page.html").read_text(encoding="utf-8")


GROUPED = """
from tests import made_up
TASK = made_up.task([made_up.GROUPS])
"""


def test_a_named_task_file_compares_by_its_own_metric(
    tmp_path: Path, command: Callable[..., Result]
) -> None:
    """Circular accuracy scores groups, not answers: its runs are tested where the file is named,
    and have their figures in any case."""
    made_up.write(tmp_path / "runs", made_up.GROUPS)
    own, out = tmp_path / "grouped.py", tmp_path / "page.html"
    own.write_text(GROUPED)
    arguments = ("report", "--runs", tmp_path / "runs", "--out", out)
    assert command(*arguments).code == 0
    page = out.read_text(encoding="utf-8")
    assert "Circular accuracy" in page
    assert 'id="madeup-1-pairs"' not in page
    assert command(*arguments, "--task", own, "--images", "none").code == 0
    page = out.read_text(encoding="utf-8")
    assert 'id="madeup-1-pairs"' in page
    assert "paired tests of circular accuracy" in page


def test_several_references_are_there_with_their_counts(
    tmp_path: Path, command: Callable[..., Result]
) -> None:
    """The most frequent first, each once; one reference stands by itself."""
    made_up.write(tmp_path / "runs", made_up.GRADED)
    out = tmp_path / "page.html"
    assert command("report", "--runs", tmp_path / "runs", "--out", out).code == 0
    (group,) = unpacked.groups(out.read_text(encoding="utf-8"))
    entries = list(group["entries"].values())
    assert [entry["target"] for entry in entries[:3]] == [
        [["yes", 10]],
        [["green", 9], ["yes", 1]],
        [["no", 8], ["yes", 2]],
    ]
