"""A training as a picture, its loss in the manner of the paper's Figure 3: an SVG that needs
nothing else, without script."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 40, 48
_STRIP = 84
"""Height of each small chart below."""
_INK, _FAINT, _RAW, _SMOOTH = "#22262e", "#d9dbe0", "#9db8dd", "#1f5fae"
_EVALUATED = "#b3541e"


@dataclass(frozen=True, slots=True)
class Strip:
    """A figure of every step, drawn small below the loss."""

    title: str
    values: Sequence[float]


def strips_of(lines: Sequence[Mapping[str, Any]]) -> list[Strip]:
    """The gradient's norm, the speed and the memory of the lines of a training log."""
    speeds = [line["tokens"] / line["seconds"] if line["seconds"] else 0.0 for line in lines]
    return [
        Strip("Gradient norm", [line["grad_norm"] for line in lines]),
        Strip("Tokens per second", speeds),
        Strip("Peak memory (GB)", [line["memory"] / 1e9 for line in lines]),
    ]


def loss_svg(
    losses: Sequence[float],
    *,
    title: str = "Training loss",
    validation: Sequence[tuple[int, float]] = (),
    best: int | None = None,
    strips: Sequence[Strip] = (),
) -> str:
    """The loss of steps 1, 2, ... and its running mean.

    Args:
        losses: mean negative log-likelihood per token, in nats; finite.
        title: plain text.
        validation: (step, loss) of the evaluations.
        best: the step of the student that is kept, where evaluations decide.
        strips: what is drawn below, over the same steps.
    """
    smooth = smoothed(losses)
    rows = _ticks(max([*losses, *(loss for _, loss in validation)], default=1.0))
    high = rows[-1]
    last = max(len(losses), 2)

    def x(step: float) -> float:
        return _LEFT + (step - 1) / (last - 1) * (WIDTH - _LEFT - _RIGHT)

    def y(loss: float) -> float:
        return HEIGHT - _BOTTOM - loss / high * (HEIGHT - _TOP - _BOTTOM)

    def line(values: Sequence[float], colour: str, width: float) -> str:
        return _line([(x(n), y(v)) for n, v in enumerate(values, start=1)], colour, width)

    columns = sorted({1, *(int(tick) for tick in _ticks(last) if 1 <= tick <= last)})
    evaluated = [(x(step), y(loss)) for step, loss in validation]
    parts = [
        *_frame(title, HEIGHT + _STRIP * len(strips)),
        *(text for value in rows for text in _row(value, y(value))),
        *(_column(step, x(step)) for step in columns),
        *_axes(),
        line(losses, _RAW, 1.2),
        line(smooth, _SMOOTH, 2.2),
        *([_line(evaluated, _EVALUATED, 2.2)] if evaluated else []),
        *(_dot(*place) for place in evaluated),
        *([] if best is None else _mark(best, x(best))),
        *_legend(is_evaluated=bool(evaluated)),
        *(text for number, strip in enumerate(strips) for text in _strip(strip, number, x)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _line(places: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
        'stroke-linejoin="round"/>'
    )


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_EVALUATED}"/>'


def _mark(step: int, x: float) -> list[str]:
    """Where the student that is kept was."""
    side, anchor = (-5, "end") if x > WIDTH / 2 else (5, "start")
    return [
        (
            f'<path d="M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}" stroke="{_EVALUATED}" '
            'stroke-dasharray="4 3"/>'
        ),
        (
            f'<text x="{x + side:.1f}" y="{HEIGHT - _BOTTOM - 8}" text-anchor="{anchor}">'
            f"kept: step {step}</text>"
        ),
    ]


def _strip(strip: Strip, number: int, x: Callable[[float], float]) -> list[str]:
    """A small chart below the others, from 0 to its highest value."""
    bottom = HEIGHT + _STRIP * (number + 1) - 10
    high = max([value for value in strip.values if math.isfinite(value)], default=0.0) or 1.0
    scale = (_STRIP - 30) / high
    places = [
        (x(step), bottom - value * scale)
        for step, value in enumerate(strip.values, start=1)
        if math.isfinite(value)
    ]
    return [
        f'<path d="M{_LEFT} {bottom}H{WIDTH - _RIGHT}" stroke="{_FAINT}"/>',
        (
            f'<text x="{_LEFT}" y="{bottom - _STRIP + 22}">{escape(strip.title)}, at most '
            f"{high:.3g}</text>"
        ),
        _line(places, _SMOOTH, 1.2),
    ]


def _frame(title: str, height: int) -> list[str]:
    return [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="12" '
            f'fill="{_INK}">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]


def _row(loss: float, y: float) -> list[str]:
    """The grid line of a loss, with its label."""
    return [
        f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{_FAINT}"/>',
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{loss:.3g}</text>',
    ]


def _column(step: int, x: float) -> str:
    """The label of a step."""
    return f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{step}</text>'


def _axes() -> list[str]:
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    return [
        (
            f'<path d="M{_LEFT} {_TOP}V{HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}" fill="none" '
            f'stroke="{_INK}"/>'
        ),
        (
            f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
            "Optimizer step</text>"
        ),
        (
            f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">'
            "Loss (nats per token)</text>"
        ),
    ]


def smoothed(losses: Sequence[float]) -> list[float]:
    """The mean of each loss and of those before it, up to a tenth of all."""
    window = max(1, len(losses) // 10)
    return [
        math.fsum(losses[max(0, end - window) : end]) / min(window, end)
        for end in range(1, len(losses) + 1)
    ]


def _legend(*, is_evaluated: bool) -> list[str]:
    right = WIDTH - _RIGHT
    rows = [("each step", _RAW), ("running mean", _SMOOTH)]
    if is_evaluated:
        rows.append(("validation", _EVALUATED))
    parts = []
    for place, (label, colour) in enumerate(rows):
        top = 16 + 15 * place
        parts += [
            f'<path d="M{right - 120} {top}h22" stroke="{colour}" stroke-width="2.2"/>',
            f'<text x="{right - 92}" y="{top + 4}">{label}</text>',
        ]
    return parts


def _ticks(value: float) -> list[float]:
    """Round numbers from 0 to the first that is not below `value`: three to six of them."""
    fifth = max(value, 1e-6) / 5
    power = 10.0 ** math.floor(math.log10(fifth))
    apart = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= fifth * (1 - 1e-9))
    return [n * apart for n in range(math.ceil(value / apart - 1e-9) + 1)]
