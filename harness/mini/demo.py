"""`harness demo`: the whole paper in miniature, with nothing to download.

Six small models that come with the package answer synthetic questions; the teacher among them
writes rationales, the student is trained on them, a control on the answers alone; the page shows
the results, and grows with them. Every stage keeps its results, so that the same command resumes an
interrupted demo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack, suppress
from pathlib import Path

from harness.mini.distillation import RUNS
from harness.mini.extents import Extent, Setting
from harness.mini.lanes import open_lanes
from harness.mini.pace import Pace, cpu_speed
from harness.mini.schedule import Stage, makespan, ready
from harness.mini.stages import stages

FIRST_PAGE = 2
"""Stages after which there is a page: then models can be compared."""
_TRIES = 3
"""To write a page while other stages write answers; after each of them there is another one."""
_LOOK_EVERY = 5.0
"""Seconds between two looks at how long stages take."""


def run(
    folder: Path,
    *,
    out: Path,
    extent: Extent,
    command: Sequence[str],
    report: Callable[[str], None],
    fresh: bool = False,
    lanes: int = 1,
) -> str:
    """The demo under `folder`, and the page at `out`; returns what it shows, in five lines.

    Args:
        report: is called with a line before each stage.
        fresh: move aside what is in `folder`, and start over.
        lanes: stages at a time: see `harness.mini.lanes`.

    Raises:
        HarnessError: another demo runs in `folder`, or what is there has other weights, questions
            or settings.
        Interrupted: by a signal; the same call resumes.
    """
    from harness.core.errors import HarnessError
    from harness.core.files.set_aside import set_aside
    from harness.run.folder import RunFolder

    with ExitStack() as stack:
        try:
            stack.enter_context(RunFolder(folder).locked())
        except HarnessError as error:
            error.remedy = error.remedy.replace("--runs", "--folder")
            raise
        if fresh and (aside := set_aside([folder / RUNS], folder / RUNS)):
            report(f"The demo that was there is now in {aside}")
        setting = Setting(folder=folder, extent=extent, command=tuple(command))
        executor = stack.enter_context(open_lanes(lanes))
        return _run(setting, executor, lanes=lanes, out=out, report=report)


def _run(
    setting: Setting,
    executor: Executor,
    *,
    lanes: int,
    out: Path,
    report: Callable[[str], None],
) -> str:
    from reports.inputs.predictions import RunChanged
    from reports.page.report import ReportOptions, write_report

    all_stages = stages(setting)
    resumed = any(stage.output.exists() for stage in all_stages)
    pace = Pace(executor.submit(cpu_speed).result())
    report(pace.opening(makespan(all_stages, {}, set(), lanes=lanes), resumed=resumed))
    report(f"The page, from the first {FIRST_PAGE} models on: {out}")

    def show(over: int) -> None:
        if over == FIRST_PAGE:
            report(f"Open {out}: it grows; its pictures come at the end.")
        for _ in range(_TRIES if over >= FIRST_PAGE else 0):
            with suppress(RunChanged):
                write_report(setting.runs, out, ReportOptions(images=False))
                break

    lines = run_stages(all_stages, executor, lanes=lanes, pace=pace, report=report, show=show)
    write_report(setting.runs, out)
    there = "Tables 1 and 2 of the paper, next to these runs, mini (synthetic)"
    return f"{lines}\nOpen {out}: {there}, and every answer with its picture."


def run_stages(
    all_stages: Sequence[Stage],
    executor: Executor,
    *,
    lanes: int,
    pace: Pace,
    report: Callable[[str], None],
    show: Callable[[int], None],
) -> object:
    """Run each stage as soon as a lane is free and the stages before it are over; returns what the
    last one gives.

    Args:
        show: is called with how many are over, after each.
    """
    waiting, over, result = list(all_stages), set[str](), None
    running: dict[Future[object], Stage] = {}

    def seconds_left() -> float:
        under_way = {stage.title: pace.cost_left(stage) for stage in running.values()}
        return pace.seconds(makespan(waiting, under_way, over, lanes=lanes))

    while waiting or running:
        while len(running) < lanes and (stage := ready(waiting, over)):
            place = f"[{len(all_stages) - len(waiting) + 1}/{len(all_stages)}]"
            report(f"{place} {stage.title}{pace.remaining(seconds_left())}")
            waiting.remove(stage)
            pace.begin(stage)
            running[executor.submit(stage.work)] = stage
        done, _ = wait(running, timeout=_LOOK_EVERY, return_when=FIRST_COMPLETED)
        for future in done:
            result = future.result()
            pace.end(stage := running.pop(future))
            over.add(stage.title)
            show(len(over))
        for stage in running.values():
            if late := pace.late(stage, seconds_left()):
                report(late)
    return result
