"""The training loss as a picture, in the manner of the paper's Figure 3: an SVG that needs nothing
else, without script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 40, 48
_INK, _FAINT, _RAW, _SMOOTH = "#22262e", "#d9dbe0", "#9db8dd", "#1f5fae"


def loss_svg(losses: Sequence[float], *, title: str = "Training loss") -> str:
    """The loss of steps 1, 2, ... and its running mean.

    Args:
        losses: mean negative log-likelihood per token, in nats; finite.
        title: plain text.
    """
    smooth = smoothed(losses)
    rows = _ticks(max(losses, default=1.0))
    high = rows[-1]
    last = max(len(losses), 2)

    def x(step: float) -> float:
        return _LEFT + (step - 1) / (last - 1) * (WIDTH - _LEFT - _RIGHT)

    def y(loss: float) -> float:
        return HEIGHT - _BOTTOM - loss / high * (HEIGHT - _TOP - _BOTTOM)

    def line(values: Sequence[float], colour: str, width: float) -> str:
        points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in enumerate(values, start=1))
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
            'stroke-linejoin="round"/>'
        )

    columns = sorted({1, *(int(tick) for tick in _ticks(last) if 1 <= tick <= last)})
    parts = [
        *_frame(title),
        *(text for value in rows for text in _row(value, y(value))),
        *(_column(step, x(step)) for step in columns),
        *_axes(),
        line(losses, _RAW, 1.2),
        line(smooth, _SMOOTH, 2.2),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame(title: str) -> list[str]:
    return [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" font-size="12" '
            f'fill="{_INK}">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
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


def _legend() -> list[str]:
    right = WIDTH - _RIGHT
    parts = []
    for place, (label, colour) in enumerate((("each step", _RAW), ("running mean", _SMOOTH))):
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
