"""How long the demo takes on this machine, and whether other work slows the machine down."""

from __future__ import annotations

import os
from collections.abc import Callable

from harness.core.progress import duration

SECONDS, PRODUCTS = 1.58, 67.9e9
"""What a unit of cost takes: seconds that no faster matrix product shortens (the minis are small),
and operations of one. From the whole demo, 330 units, on two machines of two cores: 12 min 50 s at
90 GFLOPS, and 9 min 45 s at 351."""
BUSY = 0.5
"""A machine that does less than this fraction of what it did first is busy with something else."""


def share_cores() -> None:
    """Let threads that wait for each other sleep, unless the environment says otherwise. Spinning,
    they take the cores from the threads that they wait for as soon as other work runs.

    To be called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cpu_speed() -> float:
    """Floating point operations a second of a matrix product in float32, measured in a fraction of
    a second."""
    from harness.run.bench import probe

    return probe("cpu", "float32").flops


class Pace:
    """What the machine does now, beside what it did when the demo began.

    Args:
        measure: gives its speed, in operations a second.
    """

    def __init__(self, measure: Callable[[], float] = cpu_speed) -> None:
        self._measure = measure
        self._first = measure()

    def begins(self, cost: float, *, resumed: bool) -> str:
        """The line that says how long the demo takes.

        Args:
            cost: of all stages.
            resumed: whether some of them may be done already.
        """
        most = "at most" if resumed else "about"
        return (
            f"This machine does {_giga(self._first)} GFLOPS in a matrix product: "
            f"the demo takes {most} {duration(self._seconds(cost))} here."
        )

    def slower(self, cost: float) -> str:
        """The line for a machine that has become busy; "" for one that has not.

        Args:
            cost: of the stages that are left.
        """
        now = self._measure()
        if now >= BUSY * self._first:
            return ""
        return (
            "The machine is busy with something else: "
            f"{_giga(now)} of {_giga(self._first)} GFLOPS. "
            f"As it is now, {duration(self._seconds(cost) * self._first / now)} are left."
        )

    def _seconds(self, cost: float) -> float:
        """On the machine as it was first."""
        return cost * (SECONDS + PRODUCTS / self._first)


def _giga(speed: float) -> str:
    return f"{speed / 1e9:.0f}"
