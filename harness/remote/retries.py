"""When a request is tried again: what failed for now, and how long to wait."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from harness.remote.exchange import Response

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Clocks and chance, for waiting."""

    now: Callable[[], float] = time.monotonic
    """Seconds."""
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    """0 to 1."""
    today: Callable[[], float] = time.time
    """Seconds since 1970, for a Retry-After that is a date."""


class TryAgain(Exception):  # noqa: N818  # an outcome, not an error
    """A try that failed and may succeed later."""

    def __init__(self, reason: str, *, away: bool, after: float = 0.0, lost: bool = False) -> None:
        super().__init__(reason)
        self.away = away
        """Nobody answered, or the server asked to come back later."""
        self.after = after
        """Seconds that the server asked to wait."""
        self.lost = lost
        """There was no answer at all, or no whole one."""


def seconds_to_wait(number: int, again: TryAgain, chance: float) -> float:
    """How long to wait after the `number`-th failure in a row.

    Args:
        chance: 0 to 1: jitter, so that several clients do not come back together.
    """
    doubled = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(number - 1, 30))
    return max(doubled * (0.5 + chance / 2), again.after)


def retry_after(response: Response, today: float) -> float:
    """The Retry-After header in seconds from now; 0 where there is none that makes sense.

    Args:
        today: seconds since 1970.
    """
    value = response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - today
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
