"""The structured rationale (SVRD): the one module that knows its four tags.

A rationale is a summary of the question, a caption of the image, the reasoning, and a conclusion
(sections 3.1 and 3.3 of the paper, Figure 5). `render` writes what the student is trained on;
`parse` reads what a model made of it, which need not be well formed: Figure 5's own caption is
never closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SECTIONS = ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION")
OPTIONS = "OPTIONS"
"""The tag around options that a student repeats before its conclusion; no stage of the paper."""
START, END = f"<{SECTIONS[-1]}>", f"</{SECTIONS[-1]}>"
"""The tags around the conclusion, the last section of a rationale."""

_REPEATED = re.compile(rf"<{OPTIONS}>.*?(?:</{OPTIONS}>|$)", re.DOTALL)
_TAG = re.compile(
    rf"<\s{{0,3}}(/?)\s{{0,3}}({'|'.join(SECTIONS)})\s{{0,3}}>", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Rationale:
    """The four stages, each as plain text without its tags."""

    summary: str
    caption: str
    reasoning: str
    conclusion: str
    """The answer: an option's letter for multiple choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The rationale that a model's text contains, and its defects."""

    summary: str | None = None
    """None: there is no such tag; "": the tag is there, with nothing in it."""
    caption: str | None = None
    reasoning: str | None = None
    conclusion: str | None = None
    missing: tuple[str, ...] = ()
    """Sections without an opening tag, or with nothing after it."""
    unclosed: tuple[str, ...] = ()
    """Sections that another tag, or the end of the text, cut off before their own closing tag."""
    repeated: tuple[str, ...] = ()
    """Sections opened more than once."""
    in_order: bool = True
    """Sections were first opened in the order of the paper."""
    outside: str = ""
    """The text outside all sections, its pieces joined by line breaks."""

    @property
    def well_formed(self) -> bool:
        """Each section once, filled, closed and in order, and no text outside them."""
        flaws = self.missing or self.unclosed or self.repeated or self.outside
        return self.in_order and not flaws

    @property
    def rationale(self) -> Rationale | None:
        """The four stages, where all are there and none is empty."""
        if self.summary and self.caption and self.reasoning and self.conclusion:
            return Rationale(self.summary, self.caption, self.reasoning, self.conclusion)
        return None


def render(rationale: Rationale) -> str:
    """The text of a rationale as the paper has it: a blank line between sections, none at the end.

    `parse` gives the same rationale back unless a stage itself holds a tag.
    """
    stages = (rationale.summary, rationale.caption, rationale.reasoning, rationale.conclusion)
    return "\n\n".join(map(section, SECTIONS, stages))


def up_to_conclusion(text: str) -> str:
    """`text` as far as the place where the conclusion's content begins, the opening tag included;
    the tag is added where it is missing."""
    before, tag, _ = text.rpartition(START)
    return f"{before}{START}" if tag else f"{text.rstrip()}\n\n{START}"


def section(name: str, text: str) -> str:
    """One stage between its tags."""
    return f"<{name}> {text.strip()} </{name}>"


def parse(text: str) -> Parsed:
    """Reads the sections of any text in one pass; never fails.

    A section ends at its closing tag or, where that is missing, at the next tag of any section or
    at the end of the text. Of repeated sections the last that is not empty counts. Tags are known
    in any case.
    """
    content: dict[str, str] = {}
    opened: dict[str, int] = {}
    unclosed: dict[str, None] = {}
    outside: list[str] = []
    current: str | None = None
    start = 0
    for tag in _TAG.finditer(text):
        between = text[start : tag.start()].strip()
        closing, name = bool(tag[1]), tag[2].upper()
        start = tag.end()
        if current is None:
            outside.append(between)
        else:
            content[current] = between or content.get(current, "")
            if not (closing and name == current):
                unclosed[current] = None
        current = None if closing else name
        if current is not None:
            opened[current] = opened.get(current, 0) + 1
    rest = text[start:].strip()
    if current is None:
        outside.append(rest)
    else:
        content[current] = rest or content.get(current, "")
        unclosed[current] = None
    return Parsed(
        summary=content.get("SUMMARY"),
        caption=content.get("CAPTION"),
        reasoning=content.get("REASONING"),
        conclusion=content.get("CONCLUSION"),
        missing=tuple(name for name in SECTIONS if not content.get(name)),
        unclosed=tuple(name for name in SECTIONS if name in unclosed),
        repeated=tuple(name for name in SECTIONS if opened.get(name, 0) > 1),
        in_order=list(opened) == [name for name in SECTIONS if name in opened],
        outside="\n".join(piece for piece in map(_without_options, outside) if piece),
    )


def _without_options(piece: str) -> str:
    """Text between the sections, less options that are repeated there."""
    return _REPEATED.sub("", piece).strip()


def conclusion(text: str) -> str | None:
    """The last CONCLUSION that is not empty; "" if all are empty; None without one."""
    return parse(text).conclusion


def has_stages(text: str) -> bool:
    """True where a tag of a stage other than the reasoning is there."""
    return any(tag[2].upper() != "REASONING" for tag in _TAG.finditer(text))


def strict_conclusion(text: str) -> str | None:
    """The first conclusion whose two tags are written exactly so; None where a tag is missing.

    This is how the paper reads the distilled model; `conclusion` is the tolerant way.
    """
    _, opening, rest = text.partition("<CONCLUSION>")
    content, closing, _ = rest.partition("</CONCLUSION>")
    return content.strip() if opening and closing else None


def span(text: str) -> tuple[int, int] | None:
    """The span of the first rationale of a text: from its first tag to the end of its conclusion.

    It runs to the end of the text where no conclusion is closed; None where there is no tag.
    """
    first: int | None = None
    for tag in _TAG.finditer(text):
        if first is None:
            first = tag.start()
        if tag[1] and tag[2].upper() == "CONCLUSION":
            return first, tag.end()
    return None if first is None else (first, len(text))
