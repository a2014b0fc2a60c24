r"""Tables as LaTeX, ruled by booktabs. The text compiles as it stands; taken into a paper by
\input, it gives the tables alone.

Whatever comes from a record is escaped: none of it is a command, and a character that the fonts of
plain pdflatex lack is given by its code point.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from reports.export import contents
from reports.tables.table import KINDS, MISSING, Cell, Heading, Row, Table

BEGIN = r"""% Compiles as it stands. Taken by \input into a paper that has \usepackage{booktabs} and
% \usepackage{graphicx}, it gives the tables alone.
\expandafter\ifx\csname @nodocument\endcsname\relax\else
\documentclass{article}
\usepackage[landscape,margin=1cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
\def\tablesend{\end{document}}
\fi
"""
END = r"""\ifdefined\tablesend\expandafter\tablesend\fi
"""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\ensuremath{\mathdollar}",  # the text font of plain pdflatex has none
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': r"\char34{}",
    # Behind a line's end these would be arguments.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # Each of these makes another sign of two: --, '', ``, ?`, !`, ,,
    "-": "-{}",
    "'": "'{}",
    "`": "`{}",
    ",": ",{}",
    # What the page and its data print most.
    "\N{MINUS SIGN}": r"\ensuremath{-}",
    "\N{EN DASH}": r"\textendash{}",
    "\N{EM DASH}": r"\textemdash{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{MIDDLE DOT}": r"\ensuremath{\cdot}",
    "\N{BULLET}": r"\ensuremath{\bullet}",
    "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
    "\N{PLUS-MINUS SIGN}": r"\ensuremath{\pm}",
    "\N{LESS-THAN OR EQUAL TO}": r"\ensuremath{\leq}",
    "\N{GREATER-THAN OR EQUAL TO}": r"\ensuremath{\geq}",
    "\N{RIGHTWARDS ARROW}": r"\ensuremath{\rightarrow}",
    "\N{DEGREE SIGN}": r"\ensuremath{^{\circ}}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{LEFT SINGLE QUOTATION MARK}": "`{}",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'{}",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MATHEMATICAL LEFT ANGLE BRACKET}": r"\ensuremath{\langle}",
    "\N{MATHEMATICAL RIGHT ANGLE BRACKET}": r"\ensuremath{\rangle}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
_GREEK = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name}"): name.lower().replace("lamda", "lambda")
    for name in (
        *("ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "IOTA", "KAPPA"),
        *("LAMDA", "MU", "NU", "XI", "PI", "RHO", "SIGMA", "TAU", "UPSILON", "PHI", "CHI", "PSI"),
        "OMEGA",
    )
}


LINE = 60
"""Characters, as LaTeX writes them, that stay in one line of a column; four times as many across
all columns."""
NARROW, WIDE = "4cm", r".9\linewidth"
"""What is longer is folded to this width, in a column and across all of them."""


def write(tables: Sequence[Table]) -> str:
    """One document, a float for each table."""
    return BEGIN + "\n".join("\n".join(_lines(table)) for table in tables) + "\n" + END


def escaped(text: str) -> str:
    """`text` as itself, in ASCII."""
    return "".join(_escaped(character) for character in contents.shown(text))


def _escaped(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character
    if character in _GREEK:
        return rf"\ensuremath{{\{_GREEK[character]}}}"
    parts = unicodedata.normalize("NFD", character)
    base, mark = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and mark in _ACCENTS:
        dotless = rf"\{base}" if base in "ij" and mark != "\u0327" else base
        return rf"\{_ACCENTS[mark]}{{{dotless}}}"
    return rf"{{[}}U+{ord(character):04X}{{]}}\allowbreak{{}}"


def _lines(table: Table) -> Iterator[str]:
    columns = contents.headings(table)
    yield r"\begin{table}[htbp]"
    yield r"\centering"
    yield rf"\caption{{{escaped(table.caption[:200])}}}"
    # Never wider than the text, never stretched.
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    kinds = "".join("r" if heading.kind == "number" else "l" for heading in columns)
    yield rf"\begin{{tabular}}{{l{kinds}}}"
    yield r"\toprule"
    yield _line([_folded(table.row_title), *map(_heading, columns)])
    for group in table.groups:
        yield r"\midrule"
        if group.title:  # in two lines: what is wider than the columns would stretch the last one
            chance = f"chance {group.chance}" if group.chance else ""
            lines = _stacked(_folded(group.title, WIDE), _folded(chance, WIDE), to="l")
            yield _line([rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\itshape {lines}}}"])
            yield r"\addlinespace"
        for place, row in enumerate(group.rows):
            if place:
                yield r"\addlinespace"
            yield _line([_title(row), *(_cell(table, c) for _, c in contents.cells(table, row))])
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    if table.notes:
        yield r"\par\smallskip"
        yield r"\begin{minipage}{\linewidth}\scriptsize\raggedright"
        yield " \\\\\n".join(
            rf"\textsuperscript{{{number}}} {KINDS[note.finding.kind].word}, "
            rf"{escaped(note.where)}: {escaped(note.finding.reason)}"
            for number, note in enumerate(table.notes, start=1)
        )
        yield r"\end{minipage}"
    yield r"\end{table}"
    yield r"\ifdefined\tablesend\clearpage\fi"  # LaTeX keeps only so many floats in hand


def _folded(text: str, width: str = NARROW) -> str:
    """`text` escaped; in lines where it is long: TeX knows no table beyond 16,383 points."""
    made = escaped(text)
    line = LINE if width == NARROW else 4 * LINE
    return made if len(made) <= line else rf"\parbox[t]{{{width}}}{{\raggedright {made}}}"


def _line(cells: Sequence[str]) -> str:
    """A row, a cell a line: TeX reads only so many characters of a line."""
    return "\n  & ".join(cells) + r" \\"


def _stacked(*parts: str, to: str) -> str:
    """The parts one below another, the first in full size; those that are empty left out."""
    first, *rest = parts
    small = [rf"\scriptsize {part}" for part in rest if part]
    lines = r" \\ ".join([first, *small])
    return rf"\begin{{tabular}}[t]{{@{{}}{to}@{{}}}}{lines}\end{{tabular}}" if small else first


def _heading(heading: Heading) -> str:
    unit = contents.unit(heading)
    n = f"$n$ {escaped(f'{heading.n:,}')}" if heading.n is not None else ""
    return _stacked(
        _folded(heading.title), _folded(unit), n, to="r" if heading.kind == "number" else "l"
    )


def _title(row: Row) -> str:
    said = ", ".join(part for part in (row.size, row.role) if part)
    return _stacked(_folded(row.title), _folded(said), _folded(row.origin), to="l")


def _cell(table: Table, cell: Cell) -> str:
    numbers = ",".join(str(table.numbers[finding]) for finding in cell.findings)
    mark = rf"\textsuperscript{{{numbers}}}" if numbers else ""
    n = f"$n$ {escaped(f'{cell.n:,}')}" if cell.n is not None else ""
    text = _folded(cell.text) or escaped(MISSING)
    parts = (_folded(cell.interval), n, _folded(cell.also))
    return _stacked(text + mark, *parts, to="r" if cell.kind != "text" else "l")
