"""The value that a written answer comes to: a number, a list, or a few words. By rule, where others
ask a judge; what comes to no one value is unparsed.

    "The gap is 12 years."                 -> "12"             the only number
    "3 + 4 = 7, so the answer is 7 (cm)."  -> "7"              answer phrase
    "Sizes: [1, 2, 3]"                     -> "[1, 2, 3]"      list
    "seven"                                -> "7"              number word
    "8 less 3. So 5 are left."             -> "5"              last sentence
    "5 or 6"                               -> None             several numbers
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

from harness.core.types import Extraction
from harness.extract import extract_open

_NUMBER = re.compile(
    r"(?<![\w.,])[-\u2212+]?\$?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+)?(?:\s?/\s?\d+(?:\.\d+)?)?(?![\d]|\.\d|,\d{3}\b)"
)
"""A number, perhaps with thousands separators, an exponent or as a fraction."""
_LIST = re.compile(r"\[[^\[\]]{0,2000}\]")
_ANNOUNCED = re.compile(
    r"\b(?:answer|result|value|solution|total|final number)\b[^.\n=:]{0,60}?"
    r"(?:\bis\b|\bare\b|\bequals?\b|:|=)(?:\s*(?:approximately|about|equal to|therefore|:))*",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\}){1,200})\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")
_NAMES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)
_WORDS = MappingProxyType({name: str(number) for number, name in enumerate(_NAMES)})
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_SHORT = 5
"""Words of an answer without a number that is taken as it is."""


def extract_value(
    raw: str,
    choices: Sequence[str] = (),
    *,
    finished: bool | None = None,
) -> Extraction:
    """The number, the list or the few words that a text comes to; None where there is no one such
    value."""
    whole = extract_open(raw, choices, finished=finished)
    if not isinstance(whole.answer, str):
        return whole
    text = _FRACTION.sub(r"\1/\2", whole.answer).replace("\\$", "$").replace("*", "")
    boxed = _BOXED.findall(text)
    announced = [text[found.end() :].strip() for found in _ANNOUNCED.finditer(text)]
    if boxed:
        return _value(boxed[-1], "answer phrase", first=True)
    for said in reversed([each for each in announced if each]):
        found = _value(said.split("\n")[0], "answer phrase", first=True)
        if found.answer is not None:
            return found
    found = _value(text, "", first=False)
    sentences = _SENTENCES.split(text.strip())
    if found.answer is not None or len(sentences) == 1:
        return found
    return _value(sentences[-1], "last sentence", first=False)


def _value(text: str, rule: str, *, first: bool) -> Extraction:
    """The one value of a piece of text; with `first` the first number of it, or that after its last
    equals sign."""
    text = text.strip()
    if lists := _LIST.findall(text):
        return Extraction(lists[-1], rule or "list")
    if "=" in text and (after := _NUMBER.search(text, text.rindex("=") + 1)):
        return Extraction(plain_number(after[0]), rule or "after the equals sign")
    every = [plain_number(found[0]) for found in _NUMBER.finditer(text)]
    if len(every) > 1 and not _NUMBER.sub("", text).strip(" ,;()."):
        return Extraction(f"[{', '.join(every)}]", rule or "list")
    numbers = list(dict.fromkeys(every))
    if len(numbers) == 1 or (numbers and first):
        return Extraction(numbers[0], rule or "the only number")
    if numbers:
        return Extraction(None, "several numbers")
    words = re.findall(r"\w+", text.lower())
    named = [_WORDS[word] for word in words if word in _WORDS]
    if len(set(named)) == 1 and (len(words) <= _SHORT or named[0] not in {"0", "1"}):
        return Extraction(named[0], rule or "number word")
    if text and len(words) <= _SHORT:
        return Extraction(text.strip(" .'\"$"), rule or "whole text")
    return Extraction(None, "no value")


def plain_number(text: str) -> str:
    """A number without thousands separators and signs of currency, a fraction as its quotient."""
    text = text.replace(",", "").replace("$", "").replace("\u2212", "-").replace(" ", "")
    above, slash, below = text.partition("/")
    if not slash:
        return text.removeprefix("+")
    return str(float(above) / float(below)) if float(below) else text
