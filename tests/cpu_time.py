"""`--cpu-times N`: the CPU seconds of all tests, by file, processes that they start included.

Unlike the wall time, they say what a test costs when other work is on the machine.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process: int | None = None) -> float:
    """What a process, this one as a rule, and its descendants have used; Linux alone says so."""
    return _ticks(os.getpid() if process is None else process) / _TICKS


def _ticks(process: int) -> int:
    folder = Path("/proc", str(process))
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        children = [file.read_text() for file in folder.glob("task/*/children")]
    except OSError:  # it has ended, and is in its parent's sum
        return 0
    own = sum(map(int, fields[11:15]))  # user and system time, its own and of those it waited for
    return own + sum(_ticks(int(child)) for each in children for child in each.split())


class CpuTimes:
    """Measures where tests run, and adds up in the process that reports."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.files: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._before = cpu_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        try:
            return (yield)
        finally:
            item.user_properties.append(("cpu_seconds", cpu_seconds() - self._before))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            file = report.nodeid.partition("::")[0]
            self.files[file] += dict(report.user_properties).get("cpu_seconds", 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        # The workers have ended, and are in this process's sum of its children.
        whole, tests = cpu_seconds(), sum(self.files.values())
        terminalreporter.section(f"CPU seconds: {whole:,.0f}, of which tests {tests:,.0f}")
        for file, seconds in self.files.most_common(self.number):
            terminalreporter.write_line(f"{seconds:8.1f}  {file}")
