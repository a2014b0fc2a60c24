"""The demo: the whole paper in miniature, told as it goes, and gone on with where it was stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.interrupts import Interrupted
from harness.core.progress import Lines
from harness.mini import demo, distillation, extents, lanes
from harness.mini.extents import Setting
from harness.mini.pace import Pace, cpu_speed, share_cores
from harness.mini.schedule import Stage, makespan
from harness.mini.stages import stages
from harness.run.compare import compare
from harness.run.folder import RunFolder
from harness.synthetic.questions import open_questions, parse_id, questions

SMALL = replace(
    extents.FULL,
    questions=14,
    open_questions=7,
    rationales=16,
    models=(distillation.STUDENT, "vilt"),
)
STAGES = 8
"""Of the small demo: two models, rationales, two trainings, two evaluations, the conclusion."""


def run(folder: Path, told: list[str], *, fresh: bool = False, lanes: int = 1) -> list[str]:
    return demo.run(
        folder,
        out=folder / "page.html",
        extent=SMALL,
        command=("harness", "demo"),
        report=told.append,
        fresh=fresh,
        lanes=lanes,
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


@pytest.mark.slow
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
    card = (folder / "runs/distill/moondream-kd/student/README.md").read_text()
    assert "# Moondream-mini, mini (synthetic), distilled on" in card
    assert "base_model" not in card  # which names a repository
    assert "| Teacher | LLaVA-CoT-mini | Apache-2.0 |" in card
    assert "ScienceQA-mini, test, mini (synthetic); settings" in card
    page = (folder / "page.html").read_text()
    assert "mini (synthetic)" in page
    for title in ("Moondream-mini", "ViLT-mini", "moondream-kd-answer-only"):
        assert title in page


@pytest.mark.slow
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
        if (known := parse_id(p.sample_id)) and known.steps > 1
    ]
    figures = (
        f"{100 * sum(right) / 14:.1f}% (several steps {100 * sum(several) / len(several):.1f}%)"
    )
    assert f"taught rationales {figures}" in lines[2]
    difference = compare(control, student).decisive
    assert f"answers alone {100 * difference.difference:+.1f} points" in lines[2]
    kept = len((folder / "runs/distill/moondream-kd/rationales.jsonl").read_text().splitlines())
    assert f"{kept} of 16" in lines[1]
    assert str(folder / "page.html") in lines[4]
    assert "mini (synthetic)" in lines[4]


@pytest.mark.slow
def test_each_stage_is_told_with_what_remains_of_all(done) -> None:
    """The number of the stage, what it does and, from the second on, the time that is left; where
    the page is, as soon as there is one."""
    folder, told, _ = done
    assert "GFLOPS in a matrix product: the demo takes about" in told[0]
    numbered = [line for line in told if line.startswith("[")]
    assert [line.split()[0] for line in numbered] == [
        f"[{n}/{STAGES}]" for n in range(1, STAGES + 1)
    ]
    assert all(re.search(r"about [\d:]+ left in all", line) for line in numbered[1:])
    second = told.index(numbered[1])
    assert told[second + 1].startswith(f"Open {folder / 'page.html'}: it grows")


@pytest.mark.slow
def test_again_nothing_is_computed_twice(done) -> None:
    """The second time every run is found complete, and says the same; nothing says how long the
    stages would take."""
    folder, _, lines = done
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*/*/predictions.jsonl")}
    told: list[str] = []
    assert run(folder, told) == lines
    assert "at most" in told[0]
    assert len([line for line in told if line.startswith("[")]) == STAGES
    assert not any("left in all" in line for line in told)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
@pytest.mark.process
def test_two_lanes_give_the_same(done, tmp_path: Path) -> None:
    """Stages that run at the same time, in processes of their own, give the same answers."""
    told: list[str] = []
    lines = run(tmp_path, told, lanes=2)
    assert answers(tmp_path) == answers(done[0])
    assert lines[:-1] == done[2][:-1]
    assert len([line for line in told if line.startswith("[")]) == STAGES
    with pytest.raises(HarnessError, match="no such demo") as caught, lanes.open_lanes(2) as both:
        both.submit(_fail).result()
    assert caught.value.remedy == "Another one."


def _fail() -> None:
    raise HarnessError("There is no such demo.", remedy="Another one.")


@pytest.mark.slow
def test_interrupted_it_goes_on_where_it_was(
    done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of its stages, it ends with the same answers as one that was not."""
    advance, counted = Lines.advance, 0

    def stop(bar: Lines, *arguments: int, **options: int) -> None:
        nonlocal counted
        advance(bar, *arguments, **options)
        counted += 1
        if counted == limits[stops]:
            raise Interrupted(signal.SIGTERM)

    stops, limits = 0, (1, 2, 3, 4)
    with monkeypatch.context() as patched:
        patched.setattr(Lines, "advance", stop)
        while stops < len(limits):
            counted = 0
            with pytest.raises(Interrupted):
                run(tmp_path, [])
            stops += 1
    run(tmp_path, [])
    assert answers(tmp_path) == answers(done[0])


@pytest.mark.slow
def test_two_at_once_are_refused(done) -> None:
    """The second is told so before it does anything, and which option helps."""
    with RunFolder(done[0]).locked(), pytest.raises(HarnessError, match="with --folder"):
        run(done[0], [])


@pytest.fixture
def earlier(done, tmp_path: Path, monkeypatch) -> Path:
    """What an earlier version has left behind: the control had other settings."""
    shutil.copytree(done[0] / "runs", tmp_path / "runs")
    monkeypatch.setattr(distillation, "ANSWERS_ONLY", {"learning_rate": 1e-3})
    return tmp_path


@pytest.mark.slow
def test_what_was_made_with_other_settings_is_refused(earlier: Path) -> None:
    """With the option that begins anew; nothing is touched."""
    before = answers(earlier)
    with pytest.raises(HarnessError, match="--fresh"):
        run(earlier, [])
    assert answers(earlier) == before


@pytest.mark.slow
def test_what_was_made_with_other_settings_is_moved_aside(
    done, earlier: Path, tmp_path: Path
) -> None:
    """It is kept, whole, and everything is done again."""
    told: list[str] = []
    run(tmp_path, told, fresh=True)
    (aside,) = tmp_path.glob("runs.*/runs")
    assert str(aside.parent) in told[0]
    before, after = answers(aside.parent), answers(tmp_path)
    assert before == answers(done[0])
    assert before.keys() == after.keys()


class Clock:
    """Time that passes when a stage says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def stage(self, title: str, seconds: float, output: Path, *after: str) -> Stage:
        """A stage of cost 10 that takes so many seconds."""

        def work() -> None:
            self.now += seconds

        return Stage(title=title, cost=10.0, work=work, output=output, after=after)


def told_by(clock: Clock, work: list[Stage]) -> tuple[list[str], list[int]]:
    """What is told of some stages in one lane, and when the page was written."""
    told: list[str] = []
    shown: list[int] = []
    with lanes.open_lanes(1) as executor:
        demo.run_stages(
            work,
            executor,
            lanes=1,
            pace=Pace(90e9, clock=clock),
            report=told.append,
            show=shown.append,
        )
    return told, shown


def test_what_remains_is_told_by_the_speed_so_far(tmp_path: Path) -> None:
    """A stage that was begun before says nothing about the speed of the others; a stage waits for
    those that it needs; after each there may be a page."""
    clock, there, missing = Clock(), tmp_path, tmp_path / "missing"
    work = [
        clock.stage("a", 1, there),
        clock.stage("b", 20, missing, "c"),
        clock.stage("c", 20, missing),
    ]
    told, shown = told_by(clock, work)
    assert told == ["[1/3] a", "[2/3] c", "[3/3] b  (about 0:20 left in all)"]
    assert shown == [1, 2, 3]


def test_the_machine_is_measured_first() -> None:
    """The demo says how long it takes at that speed. Of a demo that resumes it is the most that it
    can take. A faster machine takes less, though not in proportion to its matrix product."""
    assert "90 GFLOPS" in Pace(90e9).opening(100, resumed=False)
    slow, fast = Pace(90e9).seconds(100), Pace(351e9).seconds(100)
    assert 1.2 < slow / fast < 1.5
    assert "at most" in Pace(351e9).opening(100, resumed=True)
    assert cpu_speed() > 1e8


def test_a_machine_that_becomes_busy_is_told(tmp_path: Path) -> None:
    """While a stage takes much longer than it should, at the pace of those before it, there is a
    line with the new estimate, and another one when it has taken twice as long; a stage that is a
    little late says nothing."""
    clock = Clock()
    pace = Pace(90e9, clock=clock)
    first, second = (clock.stage(name, 0, tmp_path / "missing") for name in "ab")
    pace.begin(first)
    clock.now = 20.0
    pace.end(first)
    pace.begin(second)
    clock.now += 40.0
    assert pace.late(second, 5.0) == ""
    clock.now += 20.0
    assert pace.late(second, 5.0) == (
        'The machine is busy with something else: "b" has taken 1:00 so far, and should take 0:20. '
        "As it is now, up to 0:50 are left."
    )
    clock.now += 20.0
    assert pace.late(second, 5.0) == ""
    clock.now += 40.0
    assert "has taken 2:00 so far" in pace.late(second, 5.0)


def test_stages_in_two_lanes_end_as_early_as_those_that_wait_allow(tmp_path: Path) -> None:
    """The demo's own stages: what waits for nothing fills the lanes, and in two of them the demo
    takes little more than half of the time."""
    work = stages(Setting(folder=tmp_path, extent=extents.DEMO, command=()))
    costs = {stage.title: stage.cost for stage in work}
    one, two = (makespan(work, {}, set(), lanes=lanes) for lanes in (1, 2))
    assert one == pytest.approx(sum(costs.values()))
    assert two < 0.65 * one
    first = work[0]
    half = {first.title: first.cost / 2}
    assert makespan(work[1:], half, set(), lanes=1) == pytest.approx(one - first.cost / 2)
    titles = [stage.title for stage in work]
    assert all(titles.index(each) < titles.index(s.title) for s in work for each in s.after)


def test_half_of_each_test_set_has_every_topic_as_often() -> None:
    """And questions of several steps as the whole set has them; `--full` asks all."""
    for items, limit in (
        (questions("test"), extents.DEMO.limit(extents.CHOICE)),
        (open_questions("test"), extents.DEMO.limit(extents.OPEN)),
    ):
        assert limit is not None
        assert 2 * limit == len(items)
        half = items[:limit]
        counts = Counter(item.topic for item in half)
        assert {topic: 2 * count for topic, count in counts.items()} == Counter(
            item.topic for item in items
        )
        several, of_all = (fmean(item.steps > 1 for item in each) for each in (half, items))
        assert several == pytest.approx(of_all, abs=0.02)
    assert [extents.FULL.limit(task) for task in (extents.CHOICE, extents.OPEN)] == [None, None]


def test_threads_that_wait_leave_their_cores(monkeypatch) -> None:
    """To other work, which would otherwise slow each step down; a user's own setting stays."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # for what was there to be put back
    monkeypatch.delenv("OMP_WAIT_POLICY")
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.slow
def test_the_command_goes_on_where_it_was_stopped(
    done, command, tmp_path: Path, monkeypatch
) -> None:
    """`--quick --fresh`, stopped while the student learns: what was there is kept aside, and the
    same command without `--fresh` ends with the answers of a demo that nothing stopped."""
    few = replace(extents.QUICK, questions=7, open_questions=7, rationales=8, models=SMALL.models)
    monkeypatch.setattr(extents, "QUICK", few)
    monkeypatch.setattr(lanes, "available_cores", lambda: 1)
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "demo" / "quick" / "runs" / "old"
    old.mkdir(parents=True)
    advance, seen = Lines.advance, []

    def stop(bar: Lines, *arguments: int, **options: Any) -> None:
        advance(bar, *arguments, **options)
        seen.append(options)
        if options.get("loss") is not None:
            raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Lines, "advance", stop)
        assert command("demo", "--quick", "--fresh").code == 143
    assert not old.exists()
    assert len(list(tmp_path.glob("demo/quick/runs.*/runs/old"))) == 1
    kept = answers(tmp_path / "demo" / "quick")
    result = command("demo", "--quick")
    assert result.code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 5
    assert (tmp_path / "reports" / "leaderboard.html").exists()
    found, whole = answers(tmp_path / "demo" / "quick"), answers(done[0])
    assert {name: found[name] for name in kept} == kept
    both = [name for name in found if "-kd" not in name]
    assert len(both) == 4
    assert all(len(found[name]) == 7 and found[name] == whole[name][:7] for name in both)


@pytest.mark.slow
def test_the_command_is_quick_where_asked(command, tmp_path: Path, monkeypatch) -> None:
    """`--quick`: seven models of a few questions, a student of a few rationales, the page. With
    `--fresh` what was there is kept aside."""
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "demo" / "quick" / "runs" / "old"
    old.mkdir(parents=True)
    result = command("demo", "--quick", "--fresh")
    assert result.code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 5
    assert not old.exists()
    assert len(list(tmp_path.glob("demo/quick/runs.*/runs/old"))) == 1
    runs = {path.parts[-3] for path in Path("demo/quick/runs/scienceqa-mini").glob("*/*/run.json")}
    assert runs == {f"{name}-mini" for name in extents.QUICK.models} | {"moondream-kd-quick"}
    assert (tmp_path / "reports" / "leaderboard.html").exists()
