"""The demo: the whole paper in miniature, told as it goes, and gone on with where it was stopped."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import demo
from harness.compare import compare
from harness.errors import HarnessError
from harness.mini.questions import about
from harness.records import RunFolder

SMALL = replace(demo.FULL, questions=14, rationales=24, models=(demo.STUDENT, "vilt"))


def run(folder: Path, told: list[str], *, fresh: bool = False) -> list[str]:
    return demo.run(
        folder,
        out=folder / "page.html",
        extent=SMALL,
        command=("harness", "demo"),
        told=told.append,
        fresh=fresh,
    ).splitlines()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """A small demo: its folder, what was told on the way, and its five lines."""
    folder = tmp_path_factory.mktemp("demo")
    told: list[str] = []
    return folder, told, run(folder, told)


def answers(folder: Path) -> dict[str, list[str]]:
    """Run -> its answers, without the times that they took."""
    return {
        path.parent.relative_to(folder).as_posix(): [
            json.loads(line)["raw"] for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.glob("runs/*/*/*/predictions.jsonl"))
    }


def test_every_part_of_the_paper_is_there(done) -> None:
    """Rows of both tables, rationales, the student, the control, and the page."""
    folder, _, _ = done
    assert set(answers(folder)) == {
        "runs/scienceqa-mini/moondream-mini/test",
        "runs/scienceqa-mini/vilt-mini/test",
        "runs/scienceqa-mini/moondream-kd/test",
        "runs/scienceqa-mini/moondream-kd-answer-only/test",
        "runs/vqaonline-mini/moondream-mini/test",
        "runs/vqaonline-mini/vilt-mini/test",
    }
    assert (folder / "runs/distill/moondream-kd/rationales.jsonl").exists()
    page = (folder / "page.html").read_text()
    assert "mini (synthetic)" in page
    assert "Moondream-kd" in page


def test_the_closing_summary_is_five_lines_of_what_the_records_say(done) -> None:
    """Each figure is that of the runs, and the page is named."""
    folder, _, lines = done
    assert len(lines) == 5
    runs = folder / "runs/scienceqa-mini"
    student = RunFolder(runs / "moondream-kd/test")
    control = RunFolder(runs / "moondream-kd-answer-only/test")
    right = [bool(p.correct) for p in student.read_predictions()]
    several = [
        bool(p.correct)
        for p in student.read_predictions()
        if (known := about(p.sample_id)) and known.steps > 1
    ]
    figures = (
        f"{100 * sum(right) / 14:.1f}% (several steps {100 * sum(several) / len(several):.1f}%)"
    )
    assert f"taught rationales {figures}" in lines[2]
    difference = compare(control, student).decisive
    assert f"answers alone {100 * difference.difference:+.1f} points" in lines[2]
    kept = len((folder / "runs/distill/moondream-kd/rationales.jsonl").read_text().splitlines())
    assert f"{kept} of 24" in lines[1]
    assert str(folder / "page.html") in lines[4]
    assert "mini (synthetic)" in lines[4]


def test_each_stage_is_told_with_what_remains_of_all(done) -> None:
    """The number of the stage, what it does and, from the second on, the time that is left."""
    _, told, _ = done
    assert [line.split()[0] for line in told] == [f"[{n}/{len(told)}]" for n in range(1, 7)]
    assert all(re.search(r"about \d+:\d\d left in all", line) for line in told[1:])


def test_again_nothing_is_computed_twice(done) -> None:
    """The second time every run is found complete, and says the same."""
    folder, _, lines = done
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*/*/predictions.jsonl")}
    assert run(folder, []) == lines
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_interrupted_it_goes_on_where_it_was(
    done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before each stage in turn, it ends with the same answers as one that was not."""
    go_through = demo._go_through
    for number in range(1, 6):
        with monkeypatch.context() as patched:

            def stop(stages, told, *, recorded, after=number) -> None:
                go_through(stages[:after], told, recorded=recorded)
                raise KeyboardInterrupt

            patched.setattr(demo, "_go_through", stop)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, [])
    run(tmp_path, [])
    assert answers(tmp_path) == answers(done[0])


def test_what_was_made_with_other_settings_is_moved_aside(
    done, tmp_path: Path, monkeypatch
) -> None:
    """A folder of an earlier version is refused, told how to begin anew, and kept when one does."""
    shutil.copytree(done[0] / "runs", tmp_path / "runs")
    monkeypatch.setattr(demo.distillation, "ANSWERS_ONLY", {"learning_rate": 1e-3})
    with pytest.raises(HarnessError, match="--fresh"):
        run(tmp_path, [])
    told: list[str] = []
    run(tmp_path, told, fresh=True)
    (aside,) = tmp_path.glob("runs.*/runs")
    assert str(aside.parent) in told[0]
    before, after = answers(aside.parent), answers(tmp_path)
    assert before == answers(done[0])
    assert before.keys() == after.keys()


def test_what_remains_is_told_by_the_speed_so_far() -> None:
    """A stage that was done already says nothing about the speed of the others."""
    clock, recorded = iter([0, 10, 30, 30]), [0]  # the second takes twice its cost
    works = {"a": lambda: None, "b": lambda: recorded.append(1), "c": lambda: None}
    told: list[str] = []
    demo._go_through(
        [demo.Stage(name, 10.0, work) for name, work in works.items()],
        told.append,
        recorded=lambda: sum(recorded),
        clock=lambda: float(next(clock)),
    )
    assert told == ["[1/3] a", "[2/3] b", "[3/3] c  (about 0:20 left in all)"]


def test_a_demo_that_is_over_is_not_told_to_last(done) -> None:
    """Where every stage was done already, nothing says how long the others would take."""
    told: list[str] = []
    run(done[0], told)
    assert not any("left in all" in line for line in told)


def test_the_command_is_quick_where_asked(command, tmp_path: Path, monkeypatch) -> None:
    """`--quick`: seven models of a few questions, a student of a few rationales, the page."""
    monkeypatch.chdir(tmp_path)
    result = command("demo", "--quick")
    assert result.code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 5
    runs = {path.parts[-3] for path in Path("demo/runs/scienceqa-mini").glob("*/*/run.json")}
    assert runs == {f"{name}-mini" for name in demo.QUICK.models} | {"moondream-kd-quick"}
    assert (tmp_path / "reports" / "leaderboard.html").exists()
