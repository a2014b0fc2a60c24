"""Readers: what a model's raw text answers.

One reader, `read_choice`, serves multiple choice for every model. It never guesses: a text that
commits to no option, or to more than one, has no answer, and the reading says why.

First the model's own answer is taken out of the text (`_own_answers`): template residue goes, an
echoed prompt goes, and so does everything from a newly invented question or turn on. Then every
place that names an option becomes one private character (`_mark`): a letter that is used as a
letter (not the article of "A food web", not the pronoun I, not vitamin C), the text of an option
(longest match on word boundaries; case matters where options differ only by case), or both ("B.
Illinois"). The rules below are short patterns over that marked text, tried in this order:

    conclusion      the last CONCLUSION tag that is not empty; what follows reads its content
    option text     the whole answer is an option's text, word for word (unless that is a letter:
                    with the options "B", "A" the answer "B" is the option that is labelled B)
    answer phrase   "the answer is B", "Final answer: B"                     ]
    closing phrase  "So D.", "I think it is C", "I'd go with C"              ]  the last one wins
    verdict         "B is correct"                                           ]
    leading letter  the text starts with a letter: "B", "(B)", "B. Illinois", "B, because ..."
    closing letter  the last line is a letter and nothing else
    option text     exactly one option's text is named; a first or last sentence that is nothing
                    but an option's text outweighs options named in passing

An option that is negated or rejected ("not A", "A is wrong", "B rather than A") is no answer
unless a later phrase commits to it. A question commits to nothing. Reasons for no answer:

    empty                         nothing but white space and template residue
    empty conclusion              a CONCLUSION tag with nothing in it
    no conclusion                 a structured text that never came to its conclusion, and whose
                                  reasoning does not say what the answer is
    echo of the options           the options were repeated and none was chosen
    two letters, two options      more than one option, without commitment to one
    letter outside the options    E where there are three
    letter and text disagree      "B. Alabama" where Alabama is A
    rejected                      options were named only to be rejected
    refusal                       "I cannot see the image", "None of the above", "N/A"
    nothing recognised            none of these

The other readers are for comparison: `paper-base` and `paper-kd` are the two of the paper's code,
`lmms-eval` is that harness's rule for ScienceQA.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import NamedTuple

from harness import structured
from harness.types import Reading

Reader = Callable[[str, Sequence[str]], Reading]
"""(raw text, choices) -> reading; never raises, and an index read is always one of the choices."""


# The model's own words: without template, echoed prompt, and what it invented afterwards.

_HEAD_CHARS, _TAIL_CHARS = 10_000, 40_000
"""Of a longer text (some twenty times what a model is allowed to write) only these are read, so
that a runaway generation costs no more than a moment."""

_END = "\uf8fd"  # an end-of-turn token; private characters of the text itself are dropped

_CHARACTERS = {
    **{code: None for code in range(0x20) if chr(code) not in "\t\n\r"},
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width forms
    **dict.fromkeys((0xAD, 0xFEFF, 0xFE0E, 0xFE0F), None),  # soft hyphen, variation selectors
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)), None),
    **dict.fromkeys(range(0xE000, 0xF900), None),
    **dict.fromkeys(map(ord, "\r\x85\u2028\u2029"), "\n"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u00ab\u00bb"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
    0x2026: "...",
    0x2192: ":",  # "Answer -> B", as an arrow
}

_RESIDUE = re.compile(
    r"<object>(?:<[^<>\n]{1,40}>){0,40}</object>|<patch_index_\d{1,4}>"
    r"|</?(?:phrase|object|grounding|image|unk|pad|bos|delimiter_of_\w{1,20}/)>|<s>"
    r"|\[(?:CLS|SEP|PAD|UNK|MASK)\]|<\|(?:begin_of_text|startoftext|bos|image\w{0,8})\|>"
)
_USER_TURN = re.compile(
    r"<\|(?:user|human|system)\|>|<start_of_turn>\s{0,3}user|\[INST\]"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}(?:user|system)\b(?:<\|end_header_id\|>)?"
    r"|\b(?:USER|HUMAN) ?:|(?:^|(?<=[\n.!?)>]) ?|(?<=\b[A-H]) )(?:User|Human) ?:"
    r"|#{2,} ?(?:Human|User|Instruction|Input|Question)\b ?\d{0,3} ?:?|^#{2,} *$",
    re.MULTILINE,
)
_ASSISTANT_TURN = re.compile(
    r"<\|assistant\|>|<start_of_turn>\s{0,3}model\b|\[/INST\]"
    r"|<\|(?:im_start|start_header_id)\|>\s{0,3}assistant\b(?:<\|end_header_id\|>)?"
    r"|\bASSISTANT ?:|(?:^|(?<=[.!?)>]) ?)[Aa]ssistant(?: ?:|\n)|#{2,} ?(?:Assistant|Response)\b ?:?",
    re.MULTILINE,
)
_END_TOKEN = re.compile(r"<\|[\w ]{1,40}\|>|</s>|<(?:eos|end_of_turn|end_of_utterance)>")
_MARKUP = re.compile(
    r"[*`]+|~~|^[ \t]*(?:#+|[-+>\u2022]) +|\\(?:text|math)\w* ?(?=\{)", re.MULTILINE
)
_BEFORE_UNIT = re.compile(r" (?=[%\u00b0])|(?<=\u00b0) (?=[CFK]\b)")
_QUESTION = re.compile(
    r"(?P<options>\b(?-i:Options|Choices|OPTIONS|CHOICES) ?:)|^User:"
    r"|^ ?(?:the |another )?(?:next |new )?(?:question|q|problem|exercise|quiz)"
    r" ?(?:no\.? ?)?\d{0,3} ?(?:is ?)?[:.)]"
    r"|(?<!the )(?<!this )\b(?-i:Q|Question) ?\d{0,3}:",
    re.MULTILINE | re.IGNORECASE,
)
_ASSISTANT = re.compile(r"^Assistant: ?", re.MULTILINE)
_REPLY = re.compile(r"\b(?:answer|response) ?:", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]|[^.!?\n]+")


def _clean(raw: str) -> str:
    """The raw text in NFC with plain quotes, dashes and spaces, each model's special tokens reduced
    to "User:", "Assistant:" and `_END`."""
    if len(raw) > _HEAD_CHARS + _TAIL_CHARS:
        raw = f"{raw[:_HEAD_CHARS]}\n{raw[-_TAIL_CHARS:]}"
    return _tidy(_turns(unicodedata.normalize("NFC", raw.translate(_CHARACTERS))))


def _turns(text: str) -> str:
    """The text with its special tokens dropped or reduced to the marks of a turn."""
    text = _RESIDUE.sub(" ", text)
    text = _USER_TURN.sub("\nUser: ", text)
    text = _ASSISTANT_TURN.sub("\nAssistant: ", text)
    return _END_TOKEN.sub(_END, text)


def _tidy(text: str) -> str:
    """Single spaces, no blank lines."""
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def _plain(text: str) -> str:
    """Without emphasis, headings, bullets and LaTeX; `\\boxed{B}` becomes an answer phrase."""
    text = text.replace("\\boxed{", " final answer: {").replace("\\(", " ").replace("\\)", " ")
    return _tidy(_BEFORE_UNIT.sub("", _MARKUP.sub("", text)))


def _own_answers(text: str, options: _Options) -> Iterator[str]:
    """The pieces of a clean text that may hold the answer; the first that says anything counts.

    That is what stands before any question, or, where nothing was said yet or where a question
    restates our options, what follows that question. Other questions are invented.
    """
    first, *questions = _split_at_questions(text)
    yield _first_turn(first)
    silent = not "".join(_statements(first.replace(_END, " "))).strip()
    for question in questions:
        if not (silent or options.all_in(question)):
            return
        silent = False
        yield _first_turn(_after_echo(question))


def _split_at_questions(text: str) -> list[str]:
    """Cuts before each question or turn of the user. A question keeps its list of options, and a
    rationale is not cut: its summary may well say "Question:"."""
    start, end = structured.span(text) or (0, 0)
    cuts = [0]
    may_list = False
    for found in _QUESTION.finditer(text):
        if start < found.start() < end:
            continue
        if may_list and found["options"]:
            may_list = False
        else:
            cuts.append(found.start())
            may_list = not found["options"]
    return [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _after_echo(question: str) -> str:
    """What follows a question: its reply where one is marked, else what follows its options, its
    question mark, or its line."""
    if turn := _ASSISTANT.search(question):
        return question[turn.start() :]
    if reply := _REPLY.search(question):
        return question[reply.start() :]
    if _END in question:
        return question.partition(_END)[2]
    if listed := next((m for m in _QUESTION.finditer(question) if m["options"]), None):
        return question[listed.end() :]
    return question.partition("?" if "?" in question else "\n")[2]


def _first_turn(text: str) -> str:
    """The text up to its first end token."""
    return _ASSISTANT.sub("", text).strip(f"{_END} \n").partition(_END)[0].strip()


def _statements(text: str) -> Iterator[str]:
    """Its sentences, without the questions among them."""
    return (s for s in _SENTENCE.findall(text) if not s.endswith("?"))


# Where a text names an option: one private character each, from here on.

_MOST = 0x800  # options that can be told apart; data sets have five
_LETTER, _TEXT, _BOTH = (0xE000, 0xE800, 0xF000)  # first character of each kind; add the index
_OUTSIDE = "\uf8fe"  # a letter that is none of ours
_CONFLICT = "\uf8ff"  # "B. Alabama" where Alabama is A

_L, _T, _B = (f"{chr(kind)}-{chr(kind + _MOST - 1)}" for kind in (_LETTER, _TEXT, _BOTH))
_L = f"{_L}{_OUTSIDE}"
_R = f"{_L}{_T}{_B}{_OUTSIDE}{_CONFLICT}"  # any reference

_ARTICLE = re.compile(r"^(?:the|an?) (?=\S)", re.IGNORECASE)
_PARTICLES = frozenset({"yes", "no", "none", "neither", "both", "all"})
"""Options that are also ordinary words: they count only where they stand as an answer."""
_PARTICLE_BEFORE = re.compile(
    r"(?:^|[\n.,;:!?\"'(\[>)-] ?|\b(?:is|be|answer|say|so|therefore|thus|hence|choose|select|pick) )$"
)
_PARTICLE_AFTER = re.compile(
    r" ?(?:$|[\n.,;:!?\"')\]<-]|[a-h][.:)]|because\b|since\b|as\b)"
    r"| (?:it|they|he|she|this|that|these|we|i|you)\b"
)
# What makes a place part of a longer word, number or name, before and after it.
_WORD_BEFORE, _WORD_AFTER = re.compile(r"(?:\w|\w[-'])$"), re.compile(r"\w|[-']\w")
_NUMBER_BEFORE, _NUMBER_AFTER = re.compile(r"(?:\d[.,:/]|-)$"), re.compile(r"[.,:/]\d|[%\u00b0]")
_NAME_BEFORE, _NAME_AFTER = re.compile(r"\b(?:north|south|east|west|new) $"), re.compile(r" city\b")

_LETTER_ALONE = re.compile(r"(?<![\w'\u00b0.\\-])[A-Za-z](?![\w'\u00b0&]|-\w|\.\w(?![a-z]))")
_NOT_APPLICABLE = re.compile(r"\bn ?/ ?a\b", re.IGNORECASE)
_OPENED, _CLOSED = "([{<\"'$", ")]}>\"'$"
_LINE_LABEL = re.compile(r"(?:^|\n)[ (\[\"']*$")
_INTRODUCED = re.compile(
    r"\b(?:option|choice|letter|alternative|statement|selection)s? ?[:\"'(\[]{0,3}$", re.IGNORECASE
)
_COMMITTED = re.compile(
    r"\b(?:is|be|answer|option|choice|choose|chose|pick|select|with|say|guess|think|therefore|so)"
    r" ?[:\"'(\[]{0,3} ?$",
    re.IGNORECASE,
)
_WORD_THEN_SPACE = re.compile(r"([\w']+) [\"'(\[]{0,2}$")
_MAY_PRECEDE = frozenset(
    "is be are was answer answers ans option options choice choices letter letters alternative "
    "statement selection choose chose pick picked select selected prefer mark circle with say guess "
    "think believe conclude therefore so thus hence and or nor but not neither either both only that "
    "than between actually definitely probably likely clearly certainly indeed then to for of as by "
    "out eliminate exclude leaves leaving unlike because since while whereas if whether when no wait "
    "it's that's i'd i'll correct right maybe possibly perhaps rather".split()
)
"""Words after which a capital is a letter; after others it is part of a name (vitamin C, plan B)."""
_MAY_FOLLOW = re.compile(
    rf"$|[\n\"')\]}}>]| ?[.,;:!?/|&=+{_END}-]| ?\(?[{_R}]| [A-H](?!\w)"
    r"| (?:because|since|as|for|and|or|nor|but|which|that|given|due|based|in|is|was|are|were|with|it"
    r"|this|these|from|where|who|when|if|on|at|by|than|rather|instead|while|whereas|has|have|does|do"
    r"|did|too|not|seems?|appears?|looks|fits|matches|shows?|makes|represents|cannot|can't"
    r"|(?:can|could|will|would|must|may|might|should)(?: not)? be)\b"
)
"""What follows a letter; anything else makes of A an article, and of another part of a name."""


@dataclass(frozen=True, slots=True)
class _Options:
    """The choices, prepared for looking them up."""

    plain: tuple[str, ...]
    texts: Mapping[str, int]
    """What an option may be called, folded, without its closing punctuation and its article."""
    letters: Mapping[str, int]
    """Labels in both cases, and options whose whole text is a letter that labels no option."""
    cased: bool
    """Some options differ only by case."""

    def all_in(self, text: str) -> bool:
        """Each of the choices is somewhere in the text."""
        folded = _fold(_plain(text), cased=self.cased)
        named = {index for name, index in self.texts.items() if name in folded}
        return 0 < len(self.plain) == len(named)


def _fold(text: str, *, cased: bool) -> str:
    """The text as options are compared; as long as the text, so that places agree."""
    folded = text if cased else text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _prepare(choices: Sequence[str]) -> _Options:
    plain = [
        _plain(unicodedata.normalize("NFC", c.translate(_CHARACTERS))) for c in choices[:_MOST]
    ]
    plain = [text.replace("\n", " ") for text in plain]
    cased = len({text.lower() for text in plain}) < len(set(plain))
    texts: dict[str, int] = {}
    for shorten in (_bare, _without_article):
        names = [_fold(shorten(text), cased=cased) for text in plain]
        # A name that two options could go by is nobody's; an option's full name is its own.
        texts |= {n: i for i, n in enumerate(names) if n not in texts and names.count(n) == 1}
    texts.pop("", None)
    letters = {text: index for text, index in texts.items() if _is_letter(text)}
    if not cased:
        letters |= {text.upper(): index for text, index in letters.items()}
    for index, label in enumerate(ascii_uppercase[: len(plain)]):
        letters |= {label: index, label.lower(): index}
    return _Options(tuple(plain), texts, letters, cased)


def _bare(text: str) -> str:
    return text.strip(" \n\"'").rstrip(".!?,;: ")


def _without_article(text: str) -> str:
    return _ARTICLE.sub("", _bare(text))


def _is_letter(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text.isalpha()


def _mark(text: str, options: _Options) -> str:
    """The text with each reference to an option as one character of `_R`."""
    pieces: list[str] = []
    start = 0
    for begin, end, index in _text_spans(text, options):
        pieces += text[start:begin], chr(_TEXT + index)
        # The question mark of an option that is itself a question does not make one of the answer.
        asks = text[end : end + 1] == "?" and options.plain[index].endswith("?")
        pieces.append("." if asks else "")
        start = end + asks
    marked = _NOT_APPLICABLE.sub("not-applicable", "".join([*pieces, text[start:]]))
    return _LETTER_ALONE.sub(lambda found: _letter(found, options), marked)


def _text_spans(text: str, options: _Options) -> list[tuple[int, int, int]]:
    """(start, end, index) of the options' texts; of two that overlap the first, then the longest."""
    folded = _fold(text, cased=options.cased)
    spans = []
    for name, index in options.texts.items():
        if _is_letter(name):
            continue
        at = folded.find(name)
        while at >= 0:
            end = at + len(name)
            if _stands_alone(folded, at, end) and (
                name.lower() not in _PARTICLES or _answers(folded, at, end)
            ):
                spans.append((at, end, index))
            at = folded.find(name, at + 1)
    spans.sort(key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int, int]] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _stands_alone(text: str, begin: int, end: int) -> bool:
    """Is this place of a folded text a name of its own, and not a part of a longer word (arid in
    semi-arid), number (5 in 1.5), possessive or name (Virginia in West Virginia)?"""
    before, after = text[max(0, begin - 8) : begin], text[end : end + 8]
    first, last = text[begin], text[end - 1]
    if first.isalnum() and _WORD_BEFORE.search(before):
        return False
    if last.isalnum() and _WORD_AFTER.match(after):
        return False
    if first.isdigit() and _NUMBER_BEFORE.search(before):
        return False
    if last.isdigit() and _NUMBER_AFTER.match(after):
        return False
    return not (_NAME_BEFORE.search(before.lower()) or _NAME_AFTER.match(after.lower()))


def _answers(text: str, begin: int, end: int) -> bool:
    """Does a particle (yes, no, both ...) stand as an answer here, not as a word of a sentence?"""
    before, after = text[max(0, begin - 12) : begin], text[end : end + 12]
    return bool(_PARTICLE_BEFORE.search(before.lower()) and _PARTICLE_AFTER.match(after.lower()))


def _letter(found: re.Match[str], options: _Options) -> str:
    """The character for a letter that stands alone; the letter itself where it is only a word."""
    letter, text, at = found[0], found.string, found.start()
    index = options.letters.get(letter)
    before, after = text[max(0, at - 24) : at], text[at + 1 : at + 24]
    if index is None and letter.upper() not in "ABCDEFGH":
        return letter
    if not (_is_used(letter, before, after) and _agrees(letter, after, options)):
        return letter
    return _OUTSIDE if index is None else chr(_LETTER + index)


def _is_used(letter: str, before: str, after: str) -> bool:
    """Is this letter used as a letter, going by what stands around it?"""
    followed = _MAY_FOLLOW.match(after) is not None
    if before[-1:] and before[-1] in _OPENED and after[:1] and after[0] in _CLOSED:
        return True
    if _INTRODUCED.search(before):
        return followed or letter != "a"
    if letter == "I" and after.startswith(" "):
        return False
    if letter.islower():
        label = _LINE_LABEL.search(before) and (not after or after[0] in ".:)\n")
        return bool(label or (_COMMITTED.search(before) and followed))
    word = _WORD_THEN_SPACE.search(before)
    return followed and (word is None or word[1].lower().split("'")[0] in _MAY_PRECEDE)


def _agrees(letter: str, after: str, options: _Options) -> bool:
    """False for the article in "A brick", where brick is another option and no proper name."""
    named = re.match(rf" ([{_T}])", after)
    if letter not in "Aa" or named is None:
        return True
    index = ord(named[1]) - _TEXT
    return index == options.letters.get(letter) or options.plain[index][:1].isupper()


# The rules: short patterns over marked text in plain English.

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(?:can't|cannot)\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(it|that|this|what|here|there|answer|choice|option|guess)'s\b", r"\1 is"),
        (r"'d\b", " would"),
        (r"'ll\b", " will"),
        (r"'m\b", " am"),
        (r"'ve\b", " have"),
        (
            r"\b(?:(?:most|very|quite|more) )?(?:likely|probably|definitely|clearly|certainly|surely"
            r"|actually|indeed|simply|really|just|obviously|in fact|of course|also|still)\b,? ?",
            "",
        ),
        (
            r"(?<!correct )(?<!right )(?<!best )(?<!final )\b(?:the )?"
            r"(?:options?|choices?|letters?|alternative|statement|selection)(?: letter)? ?"
            rf"(?=[\"'(\[{{]{{0,2}}[{_L}])",
            "",
        ),
    )
)
_TEXT_THEN_LETTER = re.compile(rf"([{_T}]) ?[(\[]([{_L}])[)\]]")
_QUOTING = re.compile(rf"[\"'(\[{{<$]{{1,4}} ?(?=[{_R}])|(?<=[{_R}]) ?[\"')\]}}>$]{{1,4}}")
_STOPS = (
    r"(?= ?(?:[.!;)\n]|$|-|,? (?:because|since|as|given|due|not|and not|rather|instead|which)\b))"
)
_LETTER_THEN_TEXT = re.compile(rf"([{_L}])( ?[.:,-]? ?)([{_T}])(?P<stops>{_STOPS}|(?=,))?")
_LABELLED_LIST = re.compile(rf"[{_B}](?:[ ,;.|/\n-]{{0,4}}(?:(?:and|or) )?[{_B}])+")
_PLAIN_LIST = re.compile(
    rf"(?<!not )(?<!neither )[{_T}](?: ?[,/|;]? ?(?:(?:and|or) )?(?:the |an? )?[{_T}])+"
)

_JOIN = r" ?[,/&+|]? ?(?:(?:and|or|plus) )?(?:(?:the|an?|both|maybe|possibly|perhaps) )?"
_VERBS = r"(?:is|are|was|were|would|has|have|does|do|did|can|could|will|shows|seems|looks|being)"
_OBJECT = rf"(?P<named>[{_R}](?:{_JOIN}[{_R}](?! {_VERBS}\b))*)"
_SUBJECT = rf"(?P<named>[{_R}](?:{_JOIN}[{_R}])*)"
_NEITHER = rf"(?:the |an? )?(?P<named>[{_R}](?:,? (?:or|nor) (?:the |an? )?[{_R}])*)"

_HEAD = re.compile(
    r"\b(?:answers?|ans|(?:correct|right|best|final|true|appropriate|suitable|accurate|my|likely)"
    r" (?:one|choice|option|response|letter|statement|selection|pick|guess|alternative|conclusion))\b"
    r"|\b(?:conclusion|correction|correct|choice|option|verdict)(?= ?[:=])"
)
_SEEKING = re.compile(
    r"(?:\bto|\b(?:find|finding|determine|determining|identify|know|reach|deduce)(?: the| an)?"
    r"(?: correct| right| best)?) $"
)
_COPULA = re.compile(
    rf"(?P<gap>[^.!?;:=\n]{{0,100}}?)"
    r"(?: ?[:=]|\b(?:is|are|was|remains|(?:would|should|must|will|has to|seems to|appears to) be)\b)"
)
_FILLER = re.compile(
    r"[ \n:=>\"'(,-]*+(?:(?:the|an?|that|it|this|to|be|is|correct|right|best|answer|option|choice"
    r"|letter|one|given|by|as|follows|only|either|both|in|labell?ed|marked)\b[ \n:=>\"'(,-]*+){0,8}"
)
_ASIDE = re.compile(
    r"[.!?;\n]|\b(?:because|since|as|which|while|whereas|but|than|compared|not|rather|instead|unlike"
    r"|so|where|when|if)\b"
)
_DIRECT = re.compile(_OBJECT)
_CLOSING = re.compile(
    r"\b(?:(?:so|therefore|thus|hence|consequently|accordingly|finally|then|but|rather|instead|overall"
    r"|leaving|leaves|conclusion|summary|short|as a result|elimination|this means|which means|means"
    r"|(?:no|wait)(?=,))(?: us)?(?: with)?,?(?: that)?"
    r"(?: (?:it|this|that|they|these) (?:is|are|(?:must|should|would|has to) be))?"
    r"|(?:i|we)(?: would| will| am| should| can)?(?: have to)?(?: to)? (?:choose|chose|pick|picked"
    r"|select|selected|go with|going with|went with|opt for|say|answer|guess|vote for|conclude|think"
    r"|believe|suppose)(?: that)?(?: (?:it|this|that) (?:is|(?:would|should|must) be))?"
    r"|(?:this|it|that) (?:matches|corresponds to|fits))"
    rf":? (?:only )?(?:the |an? )?{_OBJECT}{_STOPS}"
)
_CLOSING_OPENER = re.compile(
    r"(?:so|therefore|thus|hence|consequently|accordingly|in (?:conclusion|summary|short)|overall"
    r"|as a result|(?:it|this|that) (?:is|must be|would be))\b"
)
_GOOD_END = (
    r"(?= ?(?:[.,;!)\n]|$)| (?:because|since|as|and|answer|choice|option|one|response|statement|letter"
    r"|description|based|given|for|here)\b)"
)
_VERDICT = re.compile(
    rf"(?<!neither )(?<!nor ){_SUBJECT}"
    r"(?:,? (?:is|are|was|seems|looks|appears|(?:seems to|appears to|would|should|must|has to) be)"
    r"(?: all| both)?(?: the| my| our)?(?: only| most| single| one)?"
    rf" (?:answer\b|(?:correct|right|accurate|appropriate|true|best){_GOOD_END})"
    rf"|,? it is{_STOPS}| ?[-:(] ?correct\b| makes (?:the )?most sense\b|(?: \w+){{0,4}} fits best\b)"
)
_REJECTIONS = (
    re.compile(
        r"\b(?:not|never|neither|nor|rather than|instead of|unlike|except|other than|as opposed to"
        r"|exclud\w+|eliminat\w+|rul\w+ out|discard|reject|doubt|unlikely)\b (?!only\b)"
        rf"(?:(?!(?:but|it|is|so|because|since|and|that|we|i)\b)\w+ ){{0,3}}{_NEITHER}"
    ),
    re.compile(
        r"\b(?:not (?:think|believe|say|agree)|doubt|unlikely)(?: that)?(?: (?:it|this|that|the answer))?"
        rf"(?: (?:is|was|to be|(?:would|could|should|can) be))? {_NEITHER}"
    ),
    re.compile(
        rf"{_SUBJECT}(?: (?:is|are|was|were|seems|looks|(?:would|can|could|must) be)(?: all| both)? "
        r"(?:wrong|incorrect|false|eliminated|excluded|ruled out|out|impossible|invalid)\b"
        r"| ?[-:(] ?(?:incorrect|wrong)\b"
        r"| (?:is|are|was|were) not (?:the )?(?:correct|right|answer|best|true|it)\b)"
    ),
)
_DENIED = re.compile(
    rf"[{_R}](?= (?:is|are|was|were|do|does|did|can|could|will|would|has|have) not\b)"
)
_HYPOTHETICAL = re.compile(rf"\b(?:whether|if) (?:\w+ ){{0,5}}?{_SUBJECT}")
_TAG_QUESTION = re.compile(r", ?(?:right|correct|ok|okay|no|is it not)\?")
_LEADING = re.compile(rf"[ \"'(\[:.,>-]{{0,8}}(?:the )?{_OBJECT}(?P<verb> {_VERBS}\b)?")
_ONLY = re.compile(rf"[ \"'(\[:,>-]*+(?:(?:the|an?) )?{_OBJECT}[ .!,)\"'-]*+\n?")
_REFUSAL = re.compile(
    r"\b(?:i|we) (?:can|could|do|am|would|was|are|will) (?:not|unable)\b(?: \w+){0,2}? (?:determine|see"
    r"|view|answer|tell|identify|provide|access|assist|help|process|analy[sz]e|know|sure|certain|able"
    r"|have|to)\b|\b(?:i|we) (?:am|are) unable\b|\bunable to (?:determine|see|view|answer|tell|identify)"
    r"|\b(?:can|could) not be (?:determined|answered|identified|seen|concluded|inferred|established)"
    r"|\b(?:not possible|impossible|hard|difficult) to (?:determine|tell|say|answer|know|identify|see)"
    r"|\b(?:not|in)(?: |)(?:enough|sufficient) (?:information|context|detail|data)"
    r"|\bnone of (?:the|these|those|them)\b|\bnot (?:clear|certain|sure)\b|\bunclear\b|\buncertain\b"
    r"|\bnot-applicable\b|\bunanswerable\b|\bunknown\b|\bno (?:answer|image|picture)\b"
    r"|^ ?neither\b|\bneither of\b|\bis neither\b|\bas an ai\b"
    r"|^ ?(?:i am )?(?:so |very )?sorry\b(?! for the confusion)|\bnot (?:among|listed|one of)\b"
)


class _Claim(NamedTuple):
    """A phrase that commits to what it names or, where `rule` is empty, rejects it."""

    at: int
    rule: str
    named: str


def _canonical(text: str, options: _Options) -> tuple[str, bool]:
    """The marked text in lower case and plain words, without lists of all the options, and whether
    there was such a list."""
    text = _mark(_plain(text), options).lower()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _TEXT_THEN_LETTER.sub(lambda m: _merged(m[2], m[1]) or _CONFLICT, text)
    text = _QUOTING.sub("", text)
    text = _LETTER_THEN_TEXT.sub(_label, text)
    text, lists = _without_lists(text, len(options.plain))
    text = _TAG_QUESTION.sub(".", _HYPOTHETICAL.sub("", text))
    return text.strip(), lists


def _merged(letter: str, text: str) -> str:
    """One character for a letter and its own text; "" where they are not the same option."""
    index = _index(letter)
    return chr(_BOTH + index) if letter != _OUTSIDE and index == _index(text) else ""


def _index(mark: str) -> int:
    return (ord(mark) - _LETTER) % _MOST


def _label(found: re.Match[str]) -> str:
    """ "B. Illinois" as one character; a conflict where the label is another's, unless a sentence
    only begins there ("B. Alabama is farther east")."""
    letter, between, text = found[1], found[2].strip(), found[3]
    if letter == _OUTSIDE:
        return _OUTSIDE
    if merged := _merged(letter, text):
        return merged
    labels = between in (".", ":", "-") and found["stops"] is not None
    return _CONFLICT if labels or not between else found[0]


def _without_lists(text: str, count: int) -> tuple[str, bool]:
    """The text without the places that repeat every option: labelled and in order, or plain."""
    cuts: list[tuple[int, int]] = []
    for pattern in (_LABELLED_LIST, _PLAIN_LIST):
        for run in pattern.finditer(text):
            places = [place.start() for place in re.finditer(f"[{_R}]", run[0])]
            indices = [_index(run[0][place]) for place in places]
            first = 0
            while first + count <= len(places):
                listed = indices[first : first + count]
                whole = listed == list(range(count)) or (
                    pattern is _PLAIN_LIST and len(set(listed)) == count
                )
                if whole:
                    begin, end = (
                        run.start() + places[first],
                        run.start() + places[first + count - 1],
                    )
                    cuts.append((begin, end + 1))
                first += count if whole else 1
    if count < 2 or not cuts:
        return text, False
    pieces, start = [], 0
    for begin, end in sorted(cuts):
        pieces.append(text[start:begin])
        start = end
    return "\n".join([*pieces, text[start:]]), True


def _answer_phrases(text: str) -> Iterator[_Claim]:
    """ "The answer is B", "Answer: B", "the correct option would be (B)": the option named right
    there, or the only one in what is said to be the answer."""
    for head in _HEAD.finditer(text):
        if _SEEKING.search(text[max(0, head.start() - 40) : head.start()]):
            continue
        tail = text[head.end() : head.end() + 300]
        if (copula := _COPULA.match(tail)) and not re.search(f"[{_R}]", copula["gap"]):
            filler = _FILLER.match(tail, copula.end())
            at = filler.end() if filler else copula.end()
            if direct := _DIRECT.match(tail, at):
                yield _Claim(head.end() + at, "answer phrase", direct["named"])
                continue
            said = _ASIDE.split(tail[at:], maxsplit=1)[0]
            if named := "".join(re.findall(f"[{_R}]", said)):
                yield _Claim(head.end() + at, "answer phrase", named)
        elif direct := re.compile(rf"[ \n:=>-]{{0,4}}{_OBJECT}{_STOPS}").match(tail):
            yield _Claim(head.end() + direct.start("named"), "answer phrase", direct["named"])


def _closing_phrases(text: str) -> Iterator[_Claim]:
    """ "So D.", "I think it is C", and a last sentence such as "Therefore, the magnets repel"."""
    for found in _CLOSING.finditer(text):
        yield _Claim(found.start("named"), "closing phrase", found["named"])
    last = _sentences(text)[-1]
    if _CLOSING_OPENER.match(last):
        rejected = "".join(claim.named for claim in _rejections(last))
        named = "".join(mark for mark in _references(last) if mark not in rejected)
        if isinstance(_option(named), int):
            yield _Claim(len(text), "closing phrase", named)


def _verdicts(text: str) -> Iterator[_Claim]:
    """ "B is correct"."""
    for found in _VERDICT.finditer(text):
        yield _Claim(found.start("named"), "verdict", found["named"])


def _rejections(text: str) -> Iterator[_Claim]:
    """ "Not A", "A and B are wrong", "B rather than A"."""
    for pattern in _REJECTIONS:
        for found in pattern.finditer(text):
            for mark in _references(found["named"]):
                yield _Claim(found.start("named"), "", mark)


def _references(text: str) -> str:
    """Every reference of the text, in order."""
    return "".join(re.findall(f"[{_R}]", text))


def _option(named: str) -> int | str:
    """The one option that all these references name, or the reason why they name none."""
    if _CONFLICT in named:
        return "letter and text disagree"
    letters = {_index(mark) for mark in re.findall(f"[{_L}{_B}]", named) if mark != _OUTSIDE}
    texts = {_index(mark) for mark in re.findall(f"[{_T}{_B}]", named)}
    outside = _OUTSIDE in named
    if len(letters) + outside > 1:
        return "two letters"
    if outside:
        return "letter outside the options"
    if len(letters | texts) == 1:
        return min(letters | texts)
    if letters and texts:
        return "letter and text disagree"
    return "two options" if texts else "nothing recognised"


def _sentences(text: str) -> list[str]:
    """The sentences that name or say something; [""] where there is none."""
    return [s.strip() for s in _SENTENCE.findall(text) if s.strip(" .!?\n\"'")] or [""]


def _last_commitment(claims: Sequence[_Claim]) -> Reading | None:
    """What the last claim commits to, unless its option was rejected afterwards; None without."""
    reading: Reading | None = None
    for claim in claims:
        option = _option(claim.named)
        if claim.rule:
            reading = _reading(option, claim.rule)
        elif reading is not None and reading.answer == option:
            reading = Reading(None, "rejected")
    return reading


def _leading_letter(sentences: Sequence[str], rejected: set[int]) -> int | str | None:
    """The option whose letter the text starts with, or why that is no commitment: the letter is the
    first of several, "A is farther west than B" or "A: ... B: ..."."""
    leading = _LEADING.match(sentences[0])
    if leading is None or not re.match(f"[{_L}{_B}{_CONFLICT}]", leading["named"]):
        return None
    option = _option(leading["named"])
    if isinstance(option, str) or option in rejected:
        return option if isinstance(option, str) else "rejected"
    rest = sentences[0][leading.end() :]
    if _REFUSAL.search(rest):
        return "refusal"
    alone = _ONLY.fullmatch(sentences[0])
    for sentence in sentences[1:]:
        other = _LEADING.match(sentence)
        if other is None or not re.match(f"[{_L}{_B}]", other["named"]):
            continue
        index = _option(other["named"])
        last_word = sentence is sentences[-1] and _ONLY.fullmatch(sentence)
        goes_on = option == 0 and index == 1 and not (alone and not _ONLY.fullmatch(sentence))
        if index not in {option, *rejected} and (leading["verb"] or last_word or goes_on):
            return "two letters"
    compared = {_index(mark) for mark in re.findall(f"[{_L}{_B}]", rest)} - rejected - {option}
    return "two letters" if leading["verb"] and compared else option


def _closing_letter(sentences: Sequence[str], rejected: set[int]) -> int | str | None:
    """The option whose letter is the last sentence, or its last part where no other letter is
    named: "A and B are wrong, C"."""
    last_part = re.split(r"[,:;-] ", sentences[-1])[-1]
    only = _ONLY.fullmatch(last_part)
    if only is None or not re.match(f"[{_L}{_B}{_CONFLICT}]", only["named"]):
        return None
    letters = {_index(mark) for mark in re.findall(f"[{_L}{_B}]", "".join(sentences))} - rejected
    if last_part != sentences[-1] and len(letters) > 1:
        return "two letters"
    return _option(only["named"])


def _only_text(sentences: Sequence[str], rejected: set[int]) -> int | str:
    """The option whose text is the first or the last sentence, else the only one that is named."""
    ends = {
        option
        for sentence in (sentences[0], sentences[-1])
        if (only := _ONLY.fullmatch(sentence)) and isinstance(option := _option(only["named"]), int)
    }
    if len(ends) == 1 and not ends & rejected:
        return ends.pop()
    text = _DENIED.sub("", "\n".join(sentences))
    marks = [
        mark for mark in _references(text) if mark != _OUTSIDE and _index(mark) not in rejected
    ]
    if _CONFLICT in marks:
        return "letter and text disagree"
    texts = "".join(mark for mark in marks if not re.match(f"[{_L}]", mark))
    if texts:
        return _option("".join(sorted(set(texts))))
    if len(set(marks)) > 1:
        return "two letters"
    return "nothing recognised"


def _reading(option: int | str, rule: str) -> Reading:
    return Reading(option, rule) if isinstance(option, int) else Reading(None, option)


def _read_prose(text: str, options: _Options, *, committed_only: bool = False) -> Reading:
    """Reads one piece of plain text by the rules of this module, in their order."""
    exact = _fold(_bare(_plain(text)), cased=options.cased)
    if exact in options.texts and exact.upper() not in ascii_uppercase[: len(options.plain)]:
        return Reading(options.texts[exact], "option text")
    marked, lists = _canonical(text, options)
    sentences = _sentences(marked)
    if len(sentences) > 1 or not _ONLY.fullmatch(sentences[0].rstrip("?")):
        sentences = [s for s in sentences if not s.endswith("?")] or [""]
    marked = "\n".join(sentences)
    rejections = list(_rejections(marked))
    claims = [*_answer_phrases(marked), *_closing_phrases(marked), *_verdicts(marked), *rejections]
    # Of a claim and a rejection at one place ("not that B is right") the rejection comes second.
    committed = _last_commitment(sorted(claims, key=lambda claim: (claim.at, not claim.rule)))
    if committed or committed_only:
        return committed or Reading(None, "nothing recognised")
    rejected = {option for claim in rejections if isinstance(option := _option(claim.named), int)}
    rejected |= {_index(mark) for mark in _DENIED.findall(marked) if re.match(f"[{_L}]", mark)}
    for rule, find in (("leading letter", _leading_letter), ("closing letter", _closing_letter)):
        if (labelled := find(sentences, rejected)) is not None:
            return _reading(labelled, rule)
    if _REFUSAL.search(marked):
        return Reading(None, "refusal")
    option = _only_text(sentences, rejected)
    if option != "nothing recognised":
        return _reading(option, "option text")
    if rejected:
        return Reading(None, "rejected")
    return Reading(None, "echo of the options" if lists else option)


# The readers.

_SAYS_NOTHING = ("empty", "nothing recognised", "echo of the options")


def _read_answer(text: str, options: _Options) -> Reading:
    """Reads one piece of clean text: by its conclusion where it is a rationale."""
    parsed = structured.parse(text)
    if parsed.conclusion == "":
        return Reading(None, "empty conclusion")
    if parsed.conclusion is not None:
        reading = _first_that_says(parsed.conclusion, options)
        return reading if reading.answer is None else Reading(reading.answer, "conclusion")
    if structured.span(text) is None:
        return _read_prose(text, options)
    reading = _read_prose(parsed.outside, options)
    if reading.answer is None and parsed.reasoning:
        reading = _read_prose(parsed.reasoning, options, committed_only=True)
    return reading if reading.answer is not None else Reading(None, "no conclusion")


def _first_that_says(text: str, options: _Options) -> Reading:
    reading = Reading(None, "empty")
    for answer in _own_answers(text, options):
        read = _read_answer(answer, options) if answer else Reading(None, "empty")
        if read.rule not in _SAYS_NOTHING:
            return read
        reading = max(reading, read, key=lambda r: _SAYS_NOTHING.index(r.rule))
    return reading


def read_choice(raw: str, choices: Sequence[str]) -> Reading:
    """The 0-based index of the option that a raw text commits to, with the rule that fired.

    None, with the reason as the rule, where it commits to none: it is never guessed. Letters are
    read for the first 26 choices. The rules are listed at the top of this module.
    """
    return _first_that_says(_clean(raw), _prepare(choices))


def read_open(raw: str, choices: Sequence[str] = ()) -> Reading:  # noqa: ARG001  # a Reader
    """The answer to an open question: the text, without template residue and invented turns.

    Where there is a CONCLUSION, it is that; an empty text is None. `choices` is there because every
    reader takes it.
    """
    text = _ASSISTANT.sub("", _turns(raw))
    text = text.strip(f"{_END} \n").partition(_END)[0]
    text = re.split(r"^User:", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not text:
        return Reading(None, "empty")
    concluded = structured.conclusion(text)
    if concluded is None:
        return Reading(text, "whole text")
    return Reading(concluded, "conclusion") if concluded else Reading(None, "empty conclusion")


def read_last_capital(raw: str, choices: Sequence[str]) -> Reading:
    """`paper-base`: the last capital letter anywhere in the text, taken for an option's letter.

    The original raises an IndexError where there is none.
    """
    capitals = re.findall("[A-Z]", raw)
    if not capitals:
        return Reading(None, "no capital letter")
    return _labelled(capitals[-1], choices, rule="last capital letter")


def read_exact_conclusion(raw: str, choices: Sequence[str]) -> Reading:
    """`paper-kd`: what stands between the two CONCLUSION tags must be a letter and nothing else."""
    concluded = structured.strict_conclusion(raw)
    if concluded is None:
        return Reading(None, "no conclusion")
    return _labelled(concluded, choices, rule="conclusion")


def read_exact_letter(raw: str, choices: Sequence[str]) -> Reading:
    """`lmms-eval`: the text is a letter, or starts with a letter and a full stop."""
    text = raw.strip()
    return _labelled(text[:1] if text[1:2] == "." else text, choices, rule="exact letter")


def _labelled(label: str, choices: Sequence[str], *, rule: str) -> Reading:
    if len(label) != 1 or label not in ascii_uppercase:
        return Reading(None, "not a letter")
    index = ascii_uppercase.index(label)
    return (
        Reading(index, rule)
        if index < len(choices)
        else Reading(None, "letter outside the options")
    )


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "ours": read_choice,
        "paper-base": read_last_capital,
        "paper-kd": read_exact_conclusion,
        "lmms-eval": read_exact_letter,
    }
)
