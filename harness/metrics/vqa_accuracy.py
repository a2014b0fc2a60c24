"""VQA accuracy (Antol et al., 2015), as the reference evaluation of VQA v2 computes it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from harness.core.types import Metric, Prediction

_NUMBERS: Final = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
    )
} | {"none": "0"}
_ARTICLES: Final = frozenset({"a", "an", "the"})
_MARKS: Final = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS: Final = re.compile(r"\d,\d")
_FULL_STOP: Final = re.compile(r"\.(?!\d)")
_FULL_STOPS: Final = 32
"""The reference passes a flag, whose value this is, where the number of replacements belongs."""
_CONTRACTED: Final = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's they'd
they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _contractions() -> dict[str, str]:
    """Contracted words that lack one of their apostrophes -> as they are spelt."""
    found = {"somebody'd": "somebodyd"}  # the reference has this one the wrong way round
    for word in _CONTRACTED.split():
        places = [place for place, letter in enumerate(word) if letter == "'"]
        found |= {word[:place] + word[place + 1 :]: word for place in places}
    return found


_CONTRACTIONS: Final = _contractions()


@lru_cache(maxsize=1 << 16)
def normalize(text: str) -> str:
    """A text as the reference compares it: without most punctuation and articles, in lower case,
    number words as digits, contractions with their apostrophes.

    Whether a mark is dropped or becomes a space depends on the whole text: it is dropped where it
    stands next to a space, or where a comma stands between two digits anywhere. A full stop stays
    before a digit only.
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    joined = _THOUSANDS.search(text) is not None
    kept = text
    for mark in _MARKS:
        alone = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if alone or joined else " ")
    kept = _FULL_STOP.sub("", kept, count=_FULL_STOPS)
    words = (_NUMBERS.get(word, word) for word in kept.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def normalized_text(prediction: Prediction) -> str:
    """An answer as the reference evaluation compares it, for servers that may not normalise."""
    return normalize(prediction.text)


def vqa_accuracy(answer: str, references: tuple[str, ...]) -> float:
    """The mean, over all ways to leave one reference out, of min(1, matches among the others / 3);
    with a single reference, whether it matches."""
    given = normalize(answer)
    matches = [normalize(reference) == given for reference in references]
    if len(matches) == 1:
        return float(matches[0])
    found = sum(matches)
    return sum(min(1.0, (found - match) / 3) for match in matches) / len(matches)


def _score(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    return vqa_accuracy(prediction.text, prediction.references)


VQA_ACCURACY = Metric(
    "vqa_accuracy",
    "VQA accuracy",
    _score,
    meaning="soft accuracy against several human answers, leaving one out in turn, after VQA v2's "
    "normalisation",
)
