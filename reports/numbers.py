"""Numbers as people read them: figures, intervals, counts with their noun, durations."""

from __future__ import annotations

from typing import Literal


def fixed(value: float, digits: int, *, sign: Literal["", "+"] = "") -> str:
    """A number with `digits` decimals and a typographic minus; `sign` "+" marks gains as well."""
    shown = f"{value:{sign},.{digits}f}" if abs(value) < 1e6 else f"{value:{sign}.3g}"
    if not shown.strip("+-0.,"):
        shown = shown.lstrip("+-")  # a zero has no sign
    return shown.replace("-", "\N{MINUS SIGN}")


def significant(value: float) -> str:
    """A number with three significant digits, or all of its integer part."""
    digits = next((d for d in (0, 1, 2, 3) if abs(value) >= 10 ** (2 - d)), 4)
    return fixed(value, digits) if value else "0"


def interval(low: float | None, high: float | None, digits: int) -> str:
    """The ends of an interval of figures that cannot be negative; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"{fixed(low, digits)}\N{EN DASH}{fixed(high, digits)}"


def counted(number: int, noun: str) -> str:
    """A count with its noun: "1 run", "2,017 questions"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Seconds in words: "0.01 s", "0.22 s", "4.7 s", "8 min 20 s", "2 h 5 min"."""
    if seconds < 0.1:
        return f"{seconds:.1g} s"
    if seconds < 59.5:
        digits = 0 if seconds >= 9.95 else 1 if seconds >= 0.995 else 2
        return f"{fixed(seconds, digits)} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
