"""Lines, JSON and tables for stdout and stderr, with text from data or models made harmless."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.core.json_values import finite

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


MISSING = "—"
WIDTH_OF_A_PIPE = 160
NARROWEST = 36
"""Characters that a column of text needs."""


def console() -> Console:
    """stdout; a pipe gets long lines instead of folded ones."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False)


def harmless(text: str) -> str:
    """`text` without control characters, which a terminal would execute."""
    return "".join("\ufffd" if _is_control(character) else character for character in text)


def say(text: object = "", *, err: bool = False) -> None:
    """Print lines of text on stdout or stderr, in addition to a command's tables."""
    import typer

    typer.echo("\n".join(map(harmless, str(text).split("\n"))), err=err)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout; numbers that are not finite are null, and characters that
    a terminal would execute, or show in another order, are escaped."""
    text = json.dumps(finite(document), ensure_ascii=False, indent=1)
    sys.stdout.write(_NOT_ASCII.sub(_escaped, text) + "\n")


def print_json_line(document: Mapping[str, Any]) -> None:
    """Print one JSON document on a line of stdout, at once, as `print_json` does."""
    text = json.dumps(finite(document), ensure_ascii=False)
    sys.stdout.write(_NOT_ASCII.sub(_escaped, text) + "\n")
    sys.stdout.flush()


_NOT_ASCII = re.compile("[^\n -~]")


def _escaped(found: re.Match[str]) -> str:
    """A character as it is, or as JSON's own escape."""
    character = found[0]
    return json.dumps(character)[1:-1] if _is_control(character) else character


def _is_control(character: str) -> bool:
    """Cc control, Cf format (the bidirectional ones), Cs halves of surrogate pairs, Zl and Zp."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def quieten_libraries() -> None:
    """Keep the libraries' messages off stderr. Call it before the libraries are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["RUST_BACKTRACE"] = "0"  # a failure in Rust becomes an error row of one line


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    drop: Sequence[str] = (),
    wrapped: Mapping[str, int] = MappingProxyType({}),
    headings: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Print a table; columns from the second on are aligned to the right when they are numbers.

    Args:
        drop: columns to leave out where the terminal is too narrow for all, the first one first.
        wrapped: column -> characters that it needs at least, where its texts may be wrapped.
        headings: number of a row -> the line above it, of a group of rows.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    cells = [[harmless(cell) for cell in row] for row in rows]
    kept = _fitting(columns, cells, drop=drop, wrapped=wrapped, width=out.width)
    made = Table(box=box.SIMPLE_HEAD)
    for place in kept:
        numbers = place > 0 and all(
            row[place][:1].isdigit() or row[place] == MISSING for row in cells
        )
        made.add_column(
            Text(columns[place]),
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=bool(drop) and columns[place] not in wrapped,
        )
    for number, row in enumerate(cells):
        if heading := headings.get(number):
            made.add_section()
            made.add_row(Text(harmless(heading), style="bold"))
        made.add_row(*(Text(row[place]) for place in kept))
    out.print(Text(harmless(title)), soft_wrap=True)
    out.print(made)


_PADDING = 3
"""Characters between two columns; around the table there is one more."""


def _fitting(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    drop: Sequence[str],
    wrapped: Mapping[str, int],
    width: int,
) -> list[int]:
    """The places of the columns that fit side by side, those that are not wrapped in full."""
    from rich.cells import cell_len

    full = [
        max(cell_len(each) for each in (column, *(row[place] for row in rows)))
        for place, column in enumerate(columns)
    ]
    widths = [min(one, wrapped.get(column, one)) for column, one in zip(columns, full, strict=True)]
    kept = list(range(len(columns)))
    for name in drop:
        if sum(widths[place] + _PADDING for place in kept) < width:
            break
        kept.remove(columns.index(name))
    return kept


def side_by_side(texts: Sequence[tuple[str, str]]) -> None:
    """Print titled texts in columns, or one below the other where columns would be narrow."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    shown = [(Text(harmless(title), style="bold"), _lines(text)) for title, text in texts]
    if out.width < len(texts) * NARROWEST:
        for title, text in shown:
            out.print(title)
            out.print(text)
            out.print()
        return
    made = Table(box=box.SIMPLE_HEAD, expand=True)
    for title, _ in shown:
        made.add_column(title, ratio=1, overflow="fold")
    made.add_row(*(text for _, text in shown))
    out.print(made)


def _lines(text: str) -> Text:
    """Lines of text from a model."""
    from rich.text import Text

    return Text("\n".join(map(harmless, text.split("\n"))))


def percent(value: float | None) -> str:
    """0.7882 -> "78.82"; None -> an em dash."""
    return MISSING if value is None else f"{100 * value:.2f}"
