"""Strings that mean harm to whatever shows them, and the way to put one into every field."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

HOSTILE = (
    # HTML and scripts
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></script></title></details></table><h1>",
    "<!--<script>",
    "--><b>",
    "]]><svg onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "</textarea><base href=//example.org>",
    "&lt;b&gt; &#x3c;b> &amp",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://example.org/?a=1&b=2",
    # Templates and expressions
    "{{ 7 * 7 }}{% raw %}{# #}",
    "`${alert(1)}`",
    "%s %(x)d {0} {x!r} $HOME `id` $(id)",
    "'; DROP TABLE runs; --",
    # Spreadsheets
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3+cmd|x",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "＝１＋１",  # noqa: RUF001  # a full-width formula
    'a;=HYPERLINK("https://example.org")',
    'a","=1+1","b',
    # Markdown
    "| a | b |\n| --- | --- |\n| c | d |",
    "[x](javascript:alert(1)) ![x](https://example.org/x.png)",
    "**bold** _it_ ~~no~~ `code` # head\n\n---\n\n> quote",
    "<https://example.org> www.example.org [ref]: https://example.org",
    "[^1]: note $x^2$ \\| \\",
    # LaTeX
    r"\input{/etc/passwd} \write18{id} \end{document}",
    r"\\[1ex] & % # _ ^ ~ $ { } \ | < > --- '' `` ?` !`",
    "^^5cinput ^^M \\catcode`\\%=12",
    "[1ex] *{99}{c} \\def\\x{\\x}\\x",
    # YAML and JSON
    "---\na: &x [*x, *x]\n...",
    "!!python/object/apply:os.system [id]",
    "yes: no # null",
    '{"__proto__": 1} NaN Infinity',
    # Names and paths
    "../../../etc/passwd",
    "C:\\con\\..\\nul.txt",
    # Characters
    "a\nb\r\nc\td\x00\x1b[31m\x7f",
    "a\u2028b\u2029c\x85d\x0be",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\ud800 alone",
    "e\u0301 \u0301 \U000e0041 \ufffe \U0010ffff",
    "٣ שלום مرحبا",
    "中文 😀 🏳️‍🌈 ﷽",
    "Ångström naïve ﬁ ǖ ŁØß π Ω ≤ → ½",
    "W" * 10_000,
    "<" * 10_000,
    "a " * 5_000,
)

_WHOLE = tuple(t for t in HOSTILE if len(t) > 200 or re.match(r"\w*:|yes:|\.\.", t))
"""What would be an address, a path or a mapping if a field held nothing else, and long texts."""
_PARTS = tuple(t for t in HOSTILE if t.strip(" .") and t not in _WHOLE)
ON_A_PAGE = (*(" ".join(_PARTS[i : i + 4]) for i in range(0, len(_PARTS), 4)), *_WHOLE)
"""The same in a third of the texts, for whole pages of HTML, which take long to make: what breaks out
of its element does so wherever it stands."""

BLANK = ("", " ", ".")
"""Nothing to show, or no name for a file: where a page says less."""


def filled(value: Any, text: str) -> Any:
    """`value` with `text` in place of every string, keys included; metrics keep their names'
    beginning, by which they are known."""
    if isinstance(value, str):
        return text
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: filled(getattr(value, f.name), text) for f in fields(value)}
        )
    if isinstance(value, dict):
        return {
            f"accuracy/{text}" if str(key).startswith("accuracy/") else key: filled(item, text)
            for key, item in value.items()
        } | {f"{text}{len(value)}": text for _ in value if None in value.values()}
    if isinstance(value, list):
        return [filled(item, text) for item in value]
    return value
