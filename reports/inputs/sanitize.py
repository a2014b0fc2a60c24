"""Sanitise what comes from records before it reaches a page.

A record may come from anywhere: its strings may carry markup, control characters or megabytes, and
its numbers may be no numbers. Escaping is the template's business (autoescape); this module alone
decides what is shown at all.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

_JOINERS = "\u200c\u200d"  # needed to spell Persian, Hindi and many emoji
_SHOWN = {"\n": " ↵ ", "\r": " ↵ ", "\t": " ⇥ "}
_REPO_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
MAX_NUMBER = 1e15
"""Beyond this a float no longer holds every integer; no figure of a run comes near."""


def text(value: object, *, limit: int = 200) -> str:
    """`value` as it can be printed: control and bidirectional characters by their code points, no
    line breaks, at most `limit` characters and then how much was cut."""
    if value is None:
        return ""
    whole = value if isinstance(value, str) else str(value)
    cut = whole[:limit]
    shown = (cut if cut.isprintable() else "".join(map(_visible, cut))).strip()
    if len(whole) > limit:
        shown += f" … [cut: {limit:,} of {len(whole):,} characters]"
    return shown


def _visible(character: str) -> str:
    if character in _SHOWN:
        return _SHOWN[character]
    # Cc control, Cf format (the bidirectional ones among them), Cs lone surrogates, which UTF-8
    # cannot carry, Cn unassigned, Zl and Zp line breaks by another name.
    if (
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
        and character not in _JOINERS
    ):
        return f"⟨U+{ord(character):04X}⟩"
    return character


def number(value: object) -> float | None:
    """`value` as a float; None where it is no number, or none that a figure could be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # quicker
        return None
    return float(value) if -MAX_NUMBER < value < MAX_NUMBER else None  # NaN is in no range


def whole(value: object) -> int | None:
    """`value` as a count; None where it is none."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found.is_integer() else None


def mapping(value: object) -> Mapping[str, object]:
    """`value` where it is a mapping, otherwise an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[object]:
    """`value` where it is a list, otherwise an empty one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def flat(value: Mapping[str, object], *, limit: int = 100) -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every leaf that says something, at most `limit` of them, in order."""
    leaves = _leaves(value, (), 0)
    for count, (keys, leaf) in enumerate(leaves):
        if count == limit:
            yield "…", f"[cut after {limit:,} entries]"
            return
        yield text(".".join(keys), limit=120), text(leaf, limit=1000)


def _leaves(
    value: object, keys: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], object]]:
    if depth < 6 and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*keys, str(key)), depth + 1)
    elif depth < 6 and (items := sequence(value)):
        if all(isinstance(item, str | int | float) for item in items):
            yield keys, ", ".join(map(str, items))
        else:
            for index, item in enumerate(items):
                yield from _leaves(item, (*keys, str(index)), depth + 1)
    elif isinstance(value, bool):
        yield keys, "yes" if value else "no"
    elif value not in (None, "", (), [], {}):
        yield keys, value


def hub_url(repo: object, revision: object = None, *, kind: str = "") -> str | None:
    """The https address of a hub repository; None where the id is not one. `kind` is "datasets/"
    for a data set."""
    if not isinstance(repo, str) or not re.fullmatch(f"{_REPO_PART}/{_REPO_PART}", repo):
        return None
    if ".." in repo or "--" in repo:
        return None
    url = f"https://huggingface.co/{kind}{repo}"
    if isinstance(revision, str) and re.fullmatch(_REPO_PART, revision) and ".." not in revision:
        url += f"/tree/{revision}"
    return url


def passage(value: object, *, limit: int = 20_000) -> str:
    """A longer text as it can be printed where line breaks count: as `text` has it, but with its
    line breaks and tabs, and cut after `limit` bytes of UTF-8."""
    whole = value if isinstance(value, str) else "" if value is None else str(value)
    size = len(whole)
    if size * 4 > limit and len(whole.encode("utf-8", "surrogatepass")) > limit:
        kept = whole[:limit].encode("utf-8", "surrogatepass")[:limit]
        whole = kept.decode("utf-8", "ignore")
        return f"{_shown(whole)} … [cut: {len(whole):,} of {size:,} characters]"
    return _shown(whole)


def marked_passage(
    value: str, span: tuple[int, int] | None, *, limit: int = 20_000
) -> tuple[str, tuple[int, int] | None]:
    """A passage, and where the characters `span` of the text stand in it: start and end in UTF-16
    code units, as a page's script counts.

    Of a text that is cut before them, their surroundings are shown behind the cut.
    """
    if span is None:
        return passage(value, limit=limit), None
    start, end = span
    before, cut = value[:start], len(passage(value, limit=limit)) != len(_shown(value))
    if not cut or len(value[:end].encode("utf-8", "surrogatepass")) <= limit:
        shown = passage(value, limit=limit)
        first = _units(_shown(before))
        return shown, (first, first + _units(_shown(value[start:end])))
    head = before.encode("utf-8", "surrogatepass")[: limit - 4 * CONTEXT].decode("utf-8", "ignore")
    begin = max(len(head), start - CONTEXT)
    lead = _shown(head)
    if begin > len(head):
        lead += f" … [cut: {begin - len(head):,} characters] … "
    lead += _shown(value[begin:start])
    end = min(end, start + CONTEXT)
    named, rest = _shown(value[start:end]), value[end : end + CONTEXT]
    tail = f" … [cut at {len(value):,} characters]" if end + CONTEXT < len(value) else ""
    first = _units(lead)
    return f"{lead}{named}{_shown(rest)}{tail}", (first, first + _units(named))


CONTEXT = 400
"""Characters that are shown on either side of the words that an answer was extracted from."""


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _shown(text: str) -> str:
    """`text` with what cannot be seen by its code points; most texts are quickly found fine."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    lines = text.replace("\r\n", "\n")
    return "".join(c if c in "\n\t" or c.isprintable() else _visible(c) for c in lines)


def json_text(value: object) -> str:
    """`value` as JSON that can stand in a script element: whatever strings are in it, none ends
    the element, opens a comment or a script in it, or could be taken for markup anywhere else.

    Raises:
        ValueError: a NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)  # in JSON, these stand in strings only


_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&'"})
