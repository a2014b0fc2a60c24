r"""One spelling for what can be written in several ways: markup, LaTeX, units, numbers, arrows.

The same rewritings are applied to a text and to the choices, so they need not be pretty, only the
same for both: "10cm", "10 centimetres" and "$10\,\mathrm{cm}$" all become "10 cm".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.extract.aligned import Aligned, Replacement
from harness.extract.characters import tidy
from harness.extract.needles import may_match

BOX = "\uf8f9"
"""Where a box of LaTeX begins: \\boxed{...}."""

_SYMBOLS = {
    "times": "\u00d7", "cdot": "\u00b7", "div": "\u00f7", "pm": "\u00b1", "le": "\u2264",
    "leq": "\u2264", "ge": "\u2265", "geq": "\u2265", "ne": "\u2260", "neq": "\u2260",
    "approx": "\u2248", "infty": "\u221e", "circ": "\u00b0", "degree": "\u00b0",
    "rightarrow": "\u2192", "longrightarrow": "\u2192", "to": "\u2192", "leftarrow": "\u2190",
    "uparrow": "\u2191", "downarrow": "\u2193", "leftrightarrow": "\u2194", "alpha": "\u03b1",
    "beta": "\u03b2", "gamma": "\u03b3", "delta": "\u03b4", "Delta": "\u0394",
    "epsilon": "\u03b5", "theta": "\u03b8", "lambda": "\u03bb", "mu": "\u03bc", "nu": "\u03bd",
    "pi": "\u03c0", "rho": "\u03c1", "sigma": "\u03c3", "tau": "\u03c4", "phi": "\u03c6",
    "omega": "\u03c9", "Omega": "\u03a9",
}  # fmt: skip
_SUPERSCRIPT = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b", "0123456789+-"
)
_SUBSCRIPT = str.maketrans(
    "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b", "0123456789+-"
)

_UNITS = {
    "mm": "millimet(?:er|re)s?", "cm": "centimet(?:er|re)s?", "km": "kilomet(?:er|re)s?",
    "m": "met(?:er|re)s?", "in": "inch(?:es)?", "ft": "f(?:oo|ee)t", "yd": "yards?",
    "mi": "miles?", "mg": "milligrams?|milligrammes?", "kg": "kilograms?|kilogrammes?|kilos?",
    "g": "grams?|grammes?", "lb": "pounds?|lbs", "oz": "ounces?",
    "mL": "millilit(?:er|re)s?|ml", "L": "lit(?:er|re)s?|l", "ms": "milliseconds?",
    "s": "seconds?|secs?", "min": "minutes?|mins", "h": "hours?|hrs?", "J": "joules?",
    "kJ": "kilojoules?", "N": "newtons?", "W": "watts?", "kW": "kilowatts?", "V": "volts?",
    "A": "amp(?:ere)?s?", "\u03a9": "ohms?", "Hz": "hertz", "Pa": "pascals?", "K": "kelvins?",
    "mol": "moles?",
}  # fmt: skip
_UNIT = "|".join(
    [*_UNITS, "kPa", "kHz", "MHz", "mA", "eV", *(f"(?i:{words})" for words in _UNITS.values())]
)
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3"}

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"


def _quantity(found: re.Match[str]) -> str:
    """A number and its unit, the one spelling of each."""
    number = found[1]
    if found["percent"]:
        return f"{number}%"
    if found["degree"]:
        return f"{number}\u00b0{found['scale'][0].upper() if found['scale'] else ''}"
    if found["money"]:
        return f"{number} dollars"
    power = _POWERS.get((found["power"] or "").lower(), "")
    name = found["unit"]
    symbols = (unit for unit, words in _UNITS.items() if re.fullmatch(words, name, re.IGNORECASE))
    return f"{number} {next(symbols, name)}{power}"


def _fraction(found: re.Match[str]) -> str:
    top, bottom = (found[1] or found[3]).strip(), (found[2] or found[4]).strip()
    return "/".join(
        part if re.fullmatch(r"\w+|\\[A-Za-z]+", part) else f"({part})" for part in (top, bottom)
    )


def _formula(found: re.Match[str]) -> str:
    """The content of what stands between dollars, where that is a formula."""
    inner = found[1]
    is_formula = re.search(r"[\\^_{}=+*/<>\u221a\u00d7\u00b7\u00b0]", inner) or " " not in inner
    return f" {inner} " if is_formula else found[0]


_NUMBER_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
    "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14",
    "fifteen": "15", "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19",
    "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70",
    "eighty": "80", "ninety": "90",
}  # fmt: skip
_NUMBER_WORD = rf"(?i:\b(?:{'|'.join(_NUMBER_WORDS)})\b(?!-))"
_QUANTITY = (
    r"(\d)(?: ?(?:(?P<percent>%%?|percent|per cent|pct\b\.?)"
    r"|(?P<degree>\u00b0|degrees?|deg\b\.?)(?: ?(?P<scale>(?i:celsius|centigrade|fahrenheit)\b"
    r"|[CFK]\b))?|(?P<money>dollars|USD)\b)"
    rf"| ?-?(?:(?P<power>square|sq|cubic)\.? )?(?P<unit>{_UNIT})(?![A-Za-z]))"
)


class _Rewrite(NamedTuple):
    needles: tuple[str, ...]
    """In lower case: see `may_match`."""
    pattern: re.Pattern[str]
    replacement: Replacement


def _rewrites(*rows: tuple[str | tuple[str, ...], str, Replacement]) -> tuple[_Rewrite, ...]:
    return tuple(
        _Rewrite(
            (needles,) if isinstance(needles, str) else needles, re.compile(pattern), replacement
        )
        for needles, pattern, replacement in rows
    )


_FONT = r"(?:text|math|mbox|operatorname)\w*"
_REWRITES = _rewrites(
    ("{", r"\\(?:boxed|fbox) ?\{", f" {BOX}{{"),
    ("$", r"\$([_^]) ?\{?([\w+-]{1,8})\}?\$", lambda found: f"{found[1]}{{{found[2]}}}"),
    ("\\", r"\\(?:left|right|displaystyle)\b|\\[,;:!]", ""),
    ("\\", rf"\\{_FONT} ?\{{([^{{}}\n]{{0,200}})\}}", lambda found: found[1]),
    ("\\", rf"\\{_FONT} ?(?=\{{)", ""),
    (
        "frac",
        r"\\[dtc]?frac ?(?:\{([^{}\n]{1,60})\} ?\{([^{}\n]{1,60})\}|(\d) ?(\d))",
        _fraction,
    ),
    ("sqrt", r"\\sqrt ?\{([^{}\n]{1,60})\}", lambda found: f"\u221a{found[1]}"),
    ("^", r"\^ ?\{? ?\\(?:circ|degree)\b ?\}?|\^\u2218", "\u00b0"),
    ("\\", r"\\([%$&#_{}])", lambda found: found[1]),
    ("\\", r"\\([A-Za-z]{2,14})(?![A-Za-z]) ?", lambda found: _SYMBOLS.get(found[1], found[0])),
    ("\\", r"\\[()\[\]]|(?<!\\)\\(?= )", " "),
    # Dollars around a formula, and not before an amount of money.
    ("$$", r"\$\$", " "),
    ("$", r"\$(?! )([^$\n]{1,200})(?<! )\$(?!\d)", _formula),
    ("_", r"(?<=[A-Za-z)\]])_(?:\{([\w+-]{1,8})\}|(\d))", lambda found: found[1] or found[2]),
    ("^", r"\^ ?\{([^{}\n]{1,20})\}", lambda found: f"^{found[1].strip()}"),
    ("{", r"(?<=\w)\{([^{}\n]{1,40})\}", lambda found: f" {found[1]}"),
    ("^", r"(?<=[A-Za-z\d])\^(?=[+-](?!\w))", ""),
    ("<sup>", "<sup>", "^"),
    (",", r"(\d),(?=\d{3}(?!\d))", lambda found: found[1]),
    (" : ", r"(?<=\d) : (?=\d)", ":"),
    (".", r"\.(?<![\w.].)(?=\d)", "0."),
    (("\u00d7", "*", "x"), r"(\d) ?[\u00d7*x] ?(?=\d)", lambda found: f"{found[1]}\u00d7"),
    ("second", r" ?(?:/|\bper) ?second\b", "/s"),
    ("sec", r" ?(?:/|\bper) ?sec\b", "/s"),
    (("/h", "/ h", "perh", "per h"), r" ?(?:/|\bper) ?(?:hour|hr)\b", "/h"),
    # Not of other letters than ASCII's, which are the same to a pattern: the long s of "\u017fix".
    (
        tuple(_NUMBER_WORDS),
        _NUMBER_WORD,
        lambda found: _NUMBER_WORDS.get(found[0].lower(), found[0]),
    ),
    ("minus", r"\bminus (?=\d)", "-"),
    ("negative", r"\bnegative (?=\d)", "-"),
    ("$", r"\$ ?(\d*\.?\d+)", lambda found: f"{found[1]} dollars"),
    ((), _QUANTITY, _quantity),
    ("->", r"(?<![-<=])(?:--?>)", "\u2192"),
    ("<-", r"<-(?![-\d])", "\u2190"),
)
_OPERATOR = re.compile(" ?([\u2264\u2265\u2260\u2248\u00b1\u00d7\u00f7\u00b7\u2190\u2192]) ?")
_REWRITES_OF_OTHERS = _rewrites(  # of texts that are not ASCII alone
    (
        (),
        r"[\u00b9\u00b2\u00b3\u2070-\u207b]+",
        lambda found: f"^{found[0].translate(_SUPERSCRIPT)}",
    ),
    ((), r"[\u2080-\u208b]+", lambda found: found[0].translate(_SUBSCRIPT)),
    ("\u2218", r"\u2218(?= ?[CFK]\b)", "\u00b0"),
    ((), rf"(?<=[{_CJK}])(?=[A-Za-z0-9(])|(?<=[A-Za-z0-9)])(?=[{_CJK}])", " "),
)
_MARKUP = _rewrites(
    ("<", r"</?(?:p|b|i|u|em|strong|br|span|div|code|pre|sub|sup) ?/?>", ""),
    ("*", r"(?<=[\w)] )\*(?= [\w(])", "\u00d7"),
    ("*", r"\*+", ""),
    ("`", r"`+", ""),
    ("~~", r"~~", ""),
    ("_", r"(?<![^\W_])_(?!\{)|_(?![^\W_]|\{)", ""),
    (("# ", "- ", "+ ", "> ", "\u2022 "), r"(?:^|(?<=\n))[ \t]*(?:#+|[-+>\u2022]) +", ""),
)


def plain(text: Aligned) -> Aligned:
    r"""Without emphasis, headings, bullets and LaTeX, and with one spelling for each quantity."""
    rows = _REWRITES if text.text.isascii() else (*_REWRITES_OF_OTHERS, *_REWRITES)
    lowered = text.text.lower()
    for needles, pattern, replacement in (*rows, *_MARKUP):
        if may_match(lowered, needles) and (new := text.sub(pattern, replacement)) is not text:
            text, lowered = new, new.text.lower()
    if not text.text.isascii():
        text = text.sub(_OPERATOR, lambda found: found[1])
    return tidy(text)
