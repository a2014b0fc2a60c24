"""How long the demo takes on this machine, and whether other work slows the machine down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from harness.core.progress import duration
from harness.core.worker_pool import available_cores
from harness.mini.schedule import Stage

SECONDS, PRODUCTS = 1.05, 64e9
"""What a unit of cost takes in a lane: seconds that no faster matrix product shortens (the minis
are small), and operations of one. A unit is about a second of one thread on a machine of 351
GFLOPS. The whole demo took 1.6 times as long where the same machine did its matrix products without
AVX, 79 GFLOPS instead of 331, and an earlier one 1.3 times as long on another machine of 90."""
BUSY = 2.0
"""A stage that takes so many times as long as it should says that the machine does other work."""
_GRACE = 10.0
"""Seconds that a stage may take in addition: for what is imported and loaded."""


def share_cores() -> None:
    """Let threads that wait for each other sleep, unless the environment says otherwise. Spinning,
    they take the cores from the threads that they wait for as soon as other work runs.

    To be called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cpu_speed() -> float:
    """Floating point operations a second of a matrix product in float32 on all cores, measured in a
    fraction of a second."""
    import torch

    from harness.run.bench import probe

    threads = torch.get_num_threads()
    torch.set_num_threads(available_cores())
    try:
        return probe("cpu", "float32").flops
    finally:
        torch.set_num_threads(threads)


class Pace:
    """How fast stages are done, at first by the machine's speed, then by that of the stages.

    Args:
        speed: the machine's, in floating point operations a second.
        clock: seconds, monotonic.
    """

    def __init__(self, speed: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._clock = clock
        self._spent = self._worth = 0.0
        self._begun: dict[str, float] = {}
        self._resumed: set[str] = set()
        self._told: dict[str, float] = {}

    def opening(self, cost: float, *, resumed: bool) -> str:
        """The line that says how long the demo takes.

        Args:
            resumed: whether some of it may be done already.
        """
        most = "at most" if resumed else "about"
        return (
            f"This machine does {self._speed / 1e9:.0f} GFLOPS in a matrix product: "
            f"the demo takes {most} {duration(self.seconds(cost))} here."
        )

    def seconds(self, cost: float) -> float:
        """That work of this cost takes."""
        if self._worth:
            return cost * self._spent / self._worth
        return cost * (SECONDS + PRODUCTS / self._speed)

    def begin(self, stage: Stage) -> None:
        """Start the clock of a stage."""
        self._begun[stage.title] = self._clock()
        if stage.output.exists():  # what remains of it says nothing of the speed
            self._resumed.add(stage.title)

    def end(self, stage: Stage) -> None:
        """Learn from a stage that was done as a whole."""
        if stage.title not in self._resumed:
            self._spent += self._clock() - self._begun[stage.title]
            self._worth += stage.cost

    def cost_left(self, stage: Stage) -> float:
        """Of a stage that has begun, by its time."""
        passed = (self._clock() - self._begun[stage.title]) / self.seconds(1.0)
        return max(0.0, stage.cost - passed)

    def remaining(self, seconds: float) -> str:
        """The end of a stage's line; "" while nothing is known but the machine's speed."""
        return f"  (about {duration(seconds)} left in all)" if self._worth else ""

    def late(self, stage: Stage, seconds: float) -> str:
        """The line for a stage that takes much longer than it should; "" for one that does not.
        Each is told again when it has taken twice as long.

        Args:
            seconds: until everything is done, as it should be.
        """
        taken = self._clock() - self._begun[stage.title]
        due = self.seconds(stage.cost) + _GRACE
        slower = taken / due
        if slower < self._told.get(stage.title, BUSY):
            return ""
        self._told[stage.title] = 2 * slower
        whole = self.seconds(stage.cost) + seconds
        return (
            f'The machine is busy with something else: "{stage.title}" has taken {duration(taken)} '
            f"so far, and should take {duration(self.seconds(stage.cost))}. As it is now, up to "
            f"{duration(slower * whole)} are left."
        )
