"""The order in which a question's options are asked where it is shuffled, and its undoing.

An answer names an option by its place among those that were asked; a record has its place among
the data's own. `reorder` leads from the data to the question, `extract_answer` and
`in_data_order` lead back, and nothing else does.

An option that refers to others is true in one order only: "both A and B" names their letters, "all
of the above" what stands before it.
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from string import ascii_lowercase

from harness.core.types import Extraction, Sample


def order(choices: Sequence[str], *, seed: int, sample_id: str) -> tuple[int, ...]:
    """The places of the options in the order in which they are asked.

    Options at the end that mean all others, or none, stay there. Where an option refers to others
    in another way, all stay where they are.
    """
    places = list(range(len(choices)))
    moved = places[: movable(tuple(choices))]
    Random(f"{seed} {sample_id}").shuffle(moved)  # noqa: S311  # no secret
    return (*moved, *places[len(moved) :])


def reorder(sample: Sample, order: Sequence[int]) -> Sample:
    """The sample with its options, and their pictures, in the order in which they are asked."""
    choices = tuple(sample.choices[i] for i in order)
    images = sample.images
    if sample.pictured_choices:
        first = len(images) - len(order)
        images = (*images[:first], *(images[first + i] for i in order))
    return replace(sample, choices=choices, images=images)


def extract_answer(
    read: Callable[..., Extraction],
    raw: str,
    choices: Sequence[str],
    order: Sequence[int] = (),
    *,
    finished: bool | None = None,
) -> Extraction:
    """What `read` extracts from `raw`, with the answer as an index into `choices`.

    Args:
        read: as `Task.extract`.
        order: the i-th option asked was choices[order[i]]; empty: they were asked as they are.
        finished: see `harness.core.finish.is_finished`; given to a `read` with such a parameter.
    """
    asked = [choices[i] for i in order] if order else choices
    takes = _takes_finished(read)
    reading = read(raw, asked, finished=finished) if takes else read(raw, asked)
    if order and isinstance(reading.answer, int):
        return replace(reading, answer=order[reading.answer])
    return reading


@cache
def _takes_finished(read: Callable[..., Extraction]) -> bool:
    """Whether `read` has a parameter `finished`; that of a user's own task need not."""
    try:
        parameters = inspect.signature(read).parameters.values()
    except (TypeError, ValueError):  # some of the interpreter's own functions have no signature
        return False
    return any(p.name == "finished" or p.kind is p.VAR_KEYWORD for p in parameters)


def in_data_order(scores: Sequence[float], order: Sequence[int]) -> tuple[float, ...]:
    """Scores of the options as they were asked, as those of the data's options."""
    return tuple(scores[order.index(i)] for i in range(len(scores)))


@cache
def movable(choices: tuple[str, ...]) -> int:
    """How many options, from the first on, can change places."""
    plain = [_plain(choice) for choice in choices]
    letters = ascii_lowercase[: len(choices)]
    if _carry_letters(plain, letters) or any(_names_letters(text, letters) for text in plain):
        return 0
    end = len(plain)
    while end and _means_others(plain[end - 1]):
        end -= 1
    if any(_means_others(text) for text in plain[:end]):
        return 0
    return end


def _plain(choice: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", choice).casefold().split())


_OWN_LETTER = re.compile(r"[(\[]?([a-z])[)\].:] ?(?=\S)")


def _carry_letters(texts: Sequence[str], letters: str) -> bool:
    """Whether each option begins with its own letter: "B) blue" cannot be asked as A."""
    matches = [_OWN_LETTER.match(text) for text in texts]
    return all(m and m[1] == letter for m, letter in zip(matches, letters, strict=True))


_TOKEN = re.compile(
    r"[a-z\u00df-\u024f\u1e00-\u1eff]+|[&+]|[^\x00-\u024f\u1e00-\u206f\u3000-\u303f\s]+"
)
"""Words in Latin letters, and whatever stands between those and punctuation in others."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AROUND = _words(
    # What may stand around letters, so that nothing but other options is meant.
    "& + and or nor both neither either only all none not but except the option options choice "
    "choices answer answers statement statements alternative alternatives is are correct true "
    "right wrong false incorrect apply same as to than well also together alone of two three four "
    "ones any each "
    "und oder noch beide sowohl als auch weder nur richtig antwort antworten die sind alle keine "
    "et ou ni les deux seulement réponse réponses sont est correctes vraies toutes aucune sauf à "
    "la fois y e o u ambas ambos solo sólo tanto como son correctas todas ninguna excepto "
    "respuesta respuestas somente apenas nem são exceto entrambe sia che né sono corrette "
    "tutte tranne "
    "og en beiden alleen zowel geen i lub ani oba obie tylko zarówno jak oraz och eller "
    "и или ни оба обе только верны правильны варианты кроме "
    "ve veya hem de her ikisi yalnızca sadece "
    "và hoặc cả hai chỉ đúng dan atau keduanya hanya benar "
    "和 与 與 及 或 跟 都 都对 都對 都是 都正确 皆是 皆对 均正确 均对 只有 仅 "
    "選項 选项 除 以外 都不对 "
    "と または および の のみ だけ 両方 どちらも 正しい 및 또는 만 모두 둘 다 "
    "और या दोनों केवल सही و أو كلا من فقط كل"
)
_ORDINALS = _words("first second third fourth fifth last")
_TELLING = _words(
    # Of these words those that make a single letter a reference.
    "both neither either only all none not but except option options choice choices answer answers "
    "alone same nur weder seulement sauf solo sólo excepto somente apenas exceto tranne alleen "
    "tylko только кроме yalnızca sadece chỉ hanya 只有 仅 除 のみ だけ 만 केवल فقط two three"
)


def _names_letters(text: str, letters: str) -> bool:
    """Whether an option is about others by their letters or places: "A and C", "only (b)", "the
    first two". A letter alone is the name of something in the picture."""
    tokens = _TOKEN.findall(text)
    named = {token for token in tokens if token in letters or token in _ORDINALS}
    around = [token for token in tokens if token not in named]
    if not named or not around or not _AROUND.issuperset(around):
        return False
    return len(named) > 1 or not _TELLING.isdisjoint(around)


_OTHERS = re.compile(
    # English
    r"\b(?:all|none|both|any|either|neither|each|some|one|two|three|most|more than one)(?: of)?"
    r"(?: the)?(?: options?| choices?| answers?| statements?)?"
    r" (?:above|preceding|previous|foregoing|aforementioned|below)\b"
    r"|\b(?:all|none|both|any|either|neither)(?: of)? (?:these|those|them)\b"
    r"|\b(?:all|none|both|any|either|neither) of the (?:\w+ )?"
    r"(?:options|choices|answers|statements|alternatives|others?|foregoing|listed)\b"
    r"|^(?:all|no) (?:other |of the )?(?:options|choices|answers|statements) (?:is|are)\b"
    r"|^(?:the|everything|anything|nothing) above\b"
    # German, Dutch
    r"|\b(?:oben|bisher|zuvor|vorher) genannte|\bobige|\bde[rn] genannten\b|\bbovenstaande"
    r"|\b(?:alle|keine) (?:dieser )?(?:antworten|antwortmöglichkeiten)\b"
    # French, Spanish, Portuguese, Italian
    r"|\bci-dessus\b|\b(?:toutes|aucune) (?:de |des |les )?(?:ces )?(?:réponses|propositions)"
    r"|\bréponses précédentes\b"
    r"|\b(?:todas|todos|ningun[oa]|ambas|ambos)\b.*\banteriores\b|\b(?:todas|nenhuma)\b.*"
    r"\b(?:anteriores|acima|alternativas)\b|\b(?:tutte|nessuna|entrambe)\b.*\b(?:precedenti|"
    r"risposte)\b"
    # Polish, Russian, Turkish
    r"|\bpowyższ|\bвыше(?:перечисл|указан|назван)|\b(?:вс[её]|ни одно|ни один)\b.*\bперечисленн"
    r"|\bвсе ответы\b|\byukarıdaki"
    # Vietnamese, Indonesian
    r"|\btất cả\b.*\b(?:trên|đúng)\b|\bkhông\b.*\bnào\b.*\b(?:trên|đúng)\b|\b(?:semua|bukan)\b.*"
    r"\bdi atas\b|\bsemua (?:jawaban )?benar\b"
    # Arabic, Hindi, Chinese, Japanese, Korean
    r"|ما سبق|उपरोक्त|उपर्युक्त|इनमें से (?:कोई|सभी)"
    r"|^以上(?:$|都|皆|均|全|所有|选项|選項|各项|答案|三|两|の|す)"
    r"|上述|上記|위의|위 (?:모두|보기)|(?:选项|選項|答案)(?:都|均|皆)"
)


def _means_others(text: str) -> bool:
    """Whether an option means all others, or those that stand before it: "all of the above"."""
    return _OTHERS.search(text) is not None
