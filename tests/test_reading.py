"""Extraction answers: a table of raw texts by clause, and what must hold for every text.

The table's rules are part of the contract: they are counted in reports.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.types import Extraction
from harness.extract import (
    EXTRACTORS,
    closings,
    english,
    extract_choice,
    extract_open,
    judgements,
    spelling,
)
from harness.extract.needles import may_match
from harness.extract.references import LETTERS

STATES = ("Alabama", "Illinois", "South Carolina", "Connecticut")


def table():
    """The rows of readings.tsv: (clause, choices, raw text, reading).

    A line "# clause, choices" stands above its rows "index or -, rule, raw text", with tabs between
    and with choices and texts as JSON.
    """
    clause, choices = "", ()
    for line in (Path(__file__).parent / "data" / "readings.tsv").read_text("utf-8").splitlines():
        if line.startswith("#"):
            clause, listed = line.removeprefix("# ").split("\t")
            choices = tuple(json.loads(listed))
        else:
            index, rule, raw = line.split("\t")
            expected = Extraction(None if index == "-" else int(index), rule)
            yield clause, choices, json.loads(raw), expected


TABLE = list(table())


@pytest.mark.parametrize("clause", sorted({clause for clause, *_ in TABLE}))
def test_table(clause):
    """Each text gives the index and the rule that the table says."""
    wrong = [
        (raw, choices, expected, read)
        for name, choices, raw, expected in TABLE
        if name == clause and (read := extract_choice(raw, choices)) != expected
    ]
    assert not wrong


RESIDUE = ("<|end|>", "</s>", "<|endoftext|>", "<|eot_id|>", "<|im_end|>", " \n", "<pad><pad>")


@pytest.mark.parametrize("residue", RESIDUE)
def test_template_residue_after_the_text_changes_nothing(residue):
    """Whatever a model said, its end tokens and padding say no more."""
    for _, choices, raw, expected in TABLE:
        assert extract_choice(raw + residue, choices).answer == expected.answer, raw


@pytest.mark.parametrize(
    "prefix", ["<s> ", "<|endoftext|>", "ASSISTANT: ", "[/INST] ", "<|assistant|>\n", "\u200b"]
)
def test_template_residue_before_the_text_changes_nothing(prefix):
    """A start token or the assistant's name in front of an answer is no part of it."""
    for raw, index in (("B", 1), ("B. Illinois", 1), ("The answer is C", 2), ("A map", None)):
        assert extract_choice(prefix + raw, STATES).answer == index


INVENTED = (
    "\n\nQuestion: What is 2+2? Options: A: 3, B: 4 Answer: D",
    "\nQ: And now?\nAnswer: D",
    "\nUser: thanks\nAssistant: D",
    "<|end|><|user|>And now?<|end|><|assistant|>D<|end|>",
    "\n\n### Instruction:\nNow another.\n\n### Response:\nD",
    "</s>[INST] And now? [/INST] D",
)


@pytest.mark.parametrize("invented", INVENTED)
@pytest.mark.parametrize(
    "said", ["B", "(B)", "B. Illinois", "Illinois", "The answer is B.", "So B."]
)
def test_an_invented_question_after_the_answer_is_ignored(said, invented):
    """The model's answer is what it said before it began to ask itself."""
    assert extract_choice(said + invented, STATES).answer == 1


WORDS = ("copper", "granite", "a maple leaf", "New Mexico", "12 cm", "the moon")
CHOICES = st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True)
LETTER_PHRASES = (
    "{letter}",
    " {letter}.",
    "({letter})",
    "**{letter}**",
    "[{letter}]",
    "{letter})",
    "\\boxed{{{letter}}}",
    "Option {letter}",
    "option ({lower})",
    "Answer: {letter}",
    "answer is {lower}",
    "The answer is {letter}.",
    "The correct answer is: **{letter}. {text}**",
    "{letter}. {text}",
    "{letter}: {text}.",
    "({letter}) {text}",
    "{text} ({letter})",
    "Final answer: {letter}",
    "I think it is {letter}",
    "I'd go with {letter}.",
    "Let me look at the picture. So {letter}.",
    "Therefore, {letter}.",
    "{letter} is correct.",
    "Option {letter} is the correct answer because it fits.",
    "{letter}, because it fits.",
    "<REASONING> It fits. </REASONING> <CONCLUSION> {letter} </CONCLUSION>",
    "<CONCLUSION> {letter}. {text}",
    "Wait, actually the answer is {letter}",
)
TEXT_PHRASES = (
    "{text}",
    "{text}.",
    "**{text}**",
    "The answer is {text}.",
    "Answer: {text}",
    "It is {text}.",
    "I think it's {text}",
    "The picture shows {text}.",
    "Therefore, {text}.",
    "{text} is the correct answer.",
    "<CONCLUSION> {text} </CONCLUSION>",
    "The correct answer is: {text}, because it fits.",
)


@settings(deadline=None)  # other processes may hold the processor
@given(CHOICES, st.data())
def test_every_phrasing_of_a_letter_reads_that_letter(choices, data):
    """However a letter is committed to, its option is read."""
    index = data.draw(st.integers(0, len(choices) - 1))
    phrase = data.draw(st.sampled_from(LETTER_PHRASES))
    letter = "ABCDE"[index]
    raw = phrase.format(letter=letter, lower=letter.lower(), text=choices[index])
    assert extract_choice(raw, choices).answer == index, raw


@settings(deadline=None)  # other processes may hold the processor
@given(CHOICES, st.data())
def test_permuting_the_options_permutes_what_a_text_reads_as(choices, data):
    """An option's text is read as that option, wherever it stands in the list."""
    text = data.draw(st.sampled_from(choices))
    shuffled = data.draw(st.permutations(choices))
    raw = data.draw(st.sampled_from(TEXT_PHRASES)).format(text=text)
    assert extract_choice(raw, choices).answer == choices.index(text), raw
    assert extract_choice(raw, shuffled).answer == shuffled.index(text), raw


@settings(deadline=None)  # other processes may hold the processor
@given(CHOICES, st.data())
def test_what_is_negated_is_never_read(choices, data):
    """No wording of "not this one" gives that option."""
    index = data.draw(st.integers(0, len(choices) - 1))
    name = data.draw(st.sampled_from(("ABCDE"[index], choices[index])))
    phrase = data.draw(
        st.sampled_from(
            (
                "The answer is not {}.",
                "It isn't {}",
                "{} is wrong.",
                "{} is not correct.",
                "not {}",
                "I don't think it is {}.",
                "The answer can't be {}.",
            )
        )
    )
    assert extract_choice(phrase.format(name), choices).answer is None


@settings(deadline=None)  # other processes may hold the processor
@given(CHOICES)
def test_repeating_the_options_is_no_answer(choices):
    """A list of all the options, with or without letters, is an echo."""
    labelled = [f"{letter}: {text}" for letter, text in zip("ABCDE", choices, strict=False)]
    for raw in (", ".join(labelled), "\n".join(labelled), ", ".join(choices)):
        assert extract_choice(raw, choices) == Extraction(None, "echo of the options")


SNIPPETS = (
    *(
        "A",
        "B",
        "b",
        "E",
        "I",
        "(B)",
        "A.",
        "answer is",
        "Answer:",
        "not",
        "or",
        "and",
        "is correct",
    ),
    *("<CONCLUSION>", "</CONCLUSION>", "<SUMMARY>", "Question:", "Options:", "User:", "<|end|>"),
    *(
        "\n",
        " ",
        ".",
        ",",
        "?",
        "so",
        "Illinois",
        "West",
        "Virginia",
        "12",
        "yes",
        "no",
        "\\boxed{",
    ),
    *("\u0130", "\ue001", "\uf8fe", "\U0001d401", "\ufb01", "e\u0301"),
)


@settings(deadline=None)  # other processes may hold the processor
@given(
    st.one_of(st.text(), st.lists(st.sampled_from(SNIPPETS), max_size=30).map(" ".join)),
    st.lists(st.one_of(st.text(max_size=8), st.sampled_from(SNIPPETS)), max_size=6),
)
def test_any_text_and_any_choices_are_read(raw, choices):
    """No reader fails on any text, and what it reads is one of the choices."""
    for reader in EXTRACTORS.values():
        reading = reader(raw, choices)
        assert reading.rule
        assert reading.answer is None or reading.answer in range(len(choices))


@pytest.mark.parametrize(
    "piece",
    [
        *("<CONCLUSION>", "answer is ", "B ", "A/", "###", "Alabama, ", "A. Alabama\n", "<|user|>"),
        *("<object>", "not a ", "a a ", "B\n\n", "? ", "\u0316\u0301", "\\boxed{", "if not i "),
        *(
            "The answer is (A). ",
            "<think>",
            "</think>",
            "[THINK]",
            '{"answer": ',
            "[",
            "\\frac{",
            "$a ",
        ),
        *("Question 1: ", "Q: ", "Options: A. ", "A. x\nB. y\nC. z\n", "答案", "选", "respuesta "),
        *(
            "B is correct. ",
            "so so ",
            "1,000",
            "2 m ",
            "ten ",
            "</s>",
            "User: ",
            "\nUSER: a ",
            "- ",
        ),
    ],
)
def test_hostile_repetition_takes_linear_time(piece):
    """100 kB of anything, by every extractor: what is quadratic would take half a minute, and a
    twentieth of a second is enough."""
    raw = piece * (100_000 // len(piece))
    before = time.process_time()
    for reader in EXTRACTORS.values():
        reader(raw, STATES)
    extract_open(raw)
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("It is 5 cm.", Extraction("It is 5 cm.", "whole text")),
        ("  Two\n\nparagraphs. </s>", Extraction("Two\n\nparagraphs.", "whole text")),
        ("ASSISTANT: Yes.", Extraction("Yes.", "whole text")),
        (
            "<|user|>\nWhy?<|end|>\n<|assistant|>\nBecause.<|end|>",
            Extraction("Because.", "whole text"),
        ),
        ("Because.<|end|><|user|>And?", Extraction("Because.", "whole text")),
        ("First.\nQuestion: is this quoted? Yes.", None),
        (
            "<SUMMARY> s </SUMMARY><CONCLUSION> A river. </CONCLUSION>",
            Extraction("A river.", "conclusion"),
        ),
        ("<CONCLUSION> </CONCLUSION>", Extraction(None, "empty conclusion")),
        (" </s>", Extraction(None, "empty")),
        ("", Extraction(None, "empty")),
    ],
)
def test_open_answers(raw, expected):
    """An open answer is the model's first turn, or its conclusion, and otherwise unchanged."""
    assert extract_open(raw) == (expected or Extraction(raw, "whole text"))


@pytest.mark.parametrize(
    ("raw", "base", "kd", "lmms"),
    [
        ("B", 1, None, 1),
        (" B ", 1, None, 1),
        ("B. Illinois", None, None, 1),
        ("(B)", 1, None, None),
        ("Answer: B", 1, None, None),
        ("**B**", 1, None, None),
        ("<CONCLUSION> B </CONCLUSION>", None, 1, None),
        ("<CONCLUSION> (B) </CONCLUSION>", None, None, None),
        ("<CONCLUSION> E </CONCLUSION>", None, None, None),
        ("<CONCLUSION> B", 1, None, None),
        ("The answer is B because of Alabama", 0, None, None),
        ("N/A", 0, None, None),
        ("b", None, None, None),
        ("E", None, None, None),
        ("E.", None, None, None),
        ("", None, None, None),
        ("C. ", 2, None, 2),
    ],
)
def test_the_published_readers(raw, base, kd, lmms):
    """Each named alternative reads exactly what its original reads."""
    read = {name: reader(raw, STATES).answer for name, reader in EXTRACTORS.items()}
    assert (read["paper-base"], read["paper-kd"], read["lmms-eval"]) == (base, kd, lmms)


def test_the_published_readers_say_why_they_read_nothing():
    """Where the paper's code would crash on a text without capitals, the reading says so."""
    assert EXTRACTORS["paper-base"]("b", STATES) == Extraction(None, "no capital letter")
    assert EXTRACTORS["paper-base"]("E", STATES) == Extraction(None, "letter outside the options")
    assert EXTRACTORS["paper-kd"]("B", STATES) == Extraction(None, "no conclusion")
    assert EXTRACTORS["lmms-eval"]("(B)", STATES) == Extraction(None, "not a letter")


REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "scienceqa-real" / "test.jsonl"


@pytest.mark.skipif(not REAL.exists(), reason="the real ScienceQA questions are not here")
def test_the_options_of_real_questions():
    """On real questions letters and texts are read, and prompts, lists and negations are not."""
    for line in REAL.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        choices, index = row["choices"], row["answer"]
        letter, text = "ABCDE"[index], choices[index]
        other = choices[index - 1]
        labelled = [f"{name}: {choice}" for name, choice in zip("ABCDE", choices, strict=False)]
        prompt = f"{row['question']} Options: {', '.join(labelled)}"
        for raw in (
            letter,
            text,
            f"({letter}) {text}",
            f"{text} ({letter})",
            f"The answer is {text}.",
            f"The correct answer is **{letter}: {text}**",
            f"Question: {prompt} Answer: {letter}",
            f"{prompt}\n{text}",
            f"{prompt}\n\nThe correct answer is {letter}.",
            f"{text}\n\nQuestion: What is shown? Options: A: a cat, B: a dog Answer: A",
            f"Therefore, the answer is {letter}: {text}",
        ):
            assert extract_choice(raw, choices).answer == index, raw
        for raw in (
            prompt,
            f"Question: {prompt} Answer:",
            "\n".join(labelled),
            f"{letter}. {other}",
            f"{text} or {other}",
            f"The answer is not {letter}.",
            f"It is not {text}",
        ):
            assert extract_choice(raw, choices).answer is None, raw


def test_no_needle_hides_a_match():
    """Where a text has none of a pattern's needles, the pattern does not match it."""
    texts = [text for *_, raw, _ in TABLE for text in (raw, raw.lower())]
    marked = [text.replace("B", chr(LETTERS + 1)) for text in texts]
    rows = [
        *((each.needles, each.pattern) for each in (*spelling._REWRITES, *spelling._MARKUP)),
        *((needles, pattern) for needles, pattern, _ in english._REWRITES),
        (english._QUOTES, english._QUOTING),
        (english._SUPPOSING, english._HYPOTHETICAL),
        *((needles, pattern) for pattern, needles in judgements._REJECTIONS),
        *((needles, pattern) for pattern, needles in closings._CLOSING_LINES),
        (judgements._NONE_NEEDLES, judgements._NONE),
    ]
    hidden = [
        (pattern.pattern, text)
        for needles, pattern in rows
        for text in (*texts, *marked)
        if not may_match(text.lower(), needles) and pattern.search(text)
    ]
    assert not hidden


@pytest.mark.parametrize("word", ["\u017fix", "S\u0131X", "F\u0130VE"])
def test_letters_that_only_resemble_a_number_word_are_read(word):
    """For a pattern without case a long s is an s: that word is no number, and no error."""
    assert extract_choice(f"about {word}, so B.", STATES).answer == 1
