"""Extraction by kinds of text: what is cut, what counts as a statement, and which of several wins.

Each table is a kind, with other wordings than any data; tests/data/readings.tsv has the phrases.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.extract import extract_choice, extract_open

STATES = ("Alabama", "Illinois", "South Carolina", "Connecticut")
COLOURS = ("red", "green", "blue", "yellow", "white", "black", "brown", "pink", "grey", "gold")
SPEEDS = ("12 m/s", "15 m/s", "18 m/s", "20 m/s")
WORKING = "The question asks which state lies farthest west. We look at the map. West is left. "


def misread(rows, choices=STATES, **finished):
    """The rows (text, index or None) of which another index is read, and which."""
    found = [(text, index, extract_choice(text, choices, **finished)) for text, index in rows]
    return [(text, index, one) for text, index, one in found if one.answer != index]


THINKING = (
    ("<think>The answer is A</think>\nThe answer is B.", 1),
    ("<think>hm, A</think> A? <think>no</think> B", 1),
    ("<think>a<think>b</think>A</think>B", 1),
    ("<think></think>B", 1),
    ("<THINK>A</THINK>B", 1),
    ("<thought>A</thought>B", 1),
    ("Thinking: A. </think> B", 1),
    ("<reasoning>The answer is A</reasoning>B", 1),
    ("<reasoning>A</reasoning>\n<answer>B</answer>", 1),
    ("[THINK]A[/THINK]B", 1),
    ("\u25c1think\u25b7I choose A.\u25c1/think\u25b7B", 1),
    ("<|START_THINKING|>A<|END_THINKING|>B", 1),
    (
        "<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>B<|end_of_solution|>",
        1,
    ),
    ("<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B", 1),
    ("<REASONING> A is east. </REASONING> <CONCLUSION> B </CONCLUSION>", 1),
    ("Close it with </think> and go on. The answer is B.", 1),
    ("<think>The answer is B</think>", None),
    ("<think>The answer is A.", None),
    ("[THINK]The answer is A.", None),
    ("\u25c1think\u25b7The answer is A.", None),
    ("<|begin_of_thought|>The answer is A.", None),
)


def test_thinking_is_no_answer():
    """In whatever marks, closed only, several times, or never closed."""
    assert not misread(THINKING)
    assert extract_choice("<think>So A", STATES).rule == "unfinished thinking"


FIELDS = (
    ('{"reasoning": "A is east, so not A.", "answer": "B"}', 1),
    ('{"answer": "B", "explanation": "The answer is not A."}', 1),
    ('{"final_answer": "Illinois"}', 1),
    ('{"choice": "b", "confidence": 0.9}', 1),
    ('```json\n{"thought": "A is tempting.", "answer": "B"}\n```', 1),
    ('{"answer": ["B"]}', 1),
    ('{"answer": ["A", "B"]}', None),
    ('{"answer": "A or B"}', None),
    ('{"answer": null}', None),
    ('{"A": 0.1, "B": 0.6, "C": 0.2, "D": 0.1}', 1),
    ('{"probabilities": {"A": 0.1, "B": 0.6, "C": 0.2, "D": 0.1}}', 1),
    ('{"A": 0.4, "B": 0.4, "C": 0.1, "D": 0.1}', None),
    ("<explanation>A is east.</explanation><answer>(B)</answer>", 1),
    ("<final_answer>B. Illinois</final_answer>", 1),
)


def test_answer_fields():
    """JSON with an answer, or a probability for each option, and tags."""
    assert not misread(FIELDS)
    assert extract_choice("{" * 100_000, STATES).answer is None


UNFINISHED = (
    (WORKING + "The state is Illinois, and its distance is 300 km / 2 = 150 and", None),
    (WORKING + "So dS = 3800 / 200 d", None),
    (WORKING + "The answer is", None),
    (WORKING + "The answer is (", None),
    (WORKING + "Therefore the answer is that the state", None),
    ("(a) First we find the distance of Illinois. It is then used for", None),
    ("a) First we find the distance. It is 3 km. b) Then the time", None),
    ("(C) means that the state is green, (D) means that it is", None),
    ("A. True.\nB. False.\nC. True.\nD", None),
    ("(A) is incorrect as it is east. (B) is incorrect. (C) is correct. (D) is", None),
    ("x = 4.66666666666666666666666666666666666666666666666", None),
    ("| A | B |\n| T | F |\n| B", None),
    (WORKING + "The answer is (B) Ill", 1),
    (WORKING + "I choose (B), because the map", 1),
    (WORKING + "Hence (B) is the most likely explanation for what the map", 1),
    ("A TV set stands east. " + WORKING * 5 + "N", None),
)


def test_an_unfinished_text_needs_a_statement():
    """Known to be cut or not: the working names options, and that is no answer."""
    assert not misread(UNFINISHED)
    assert not misread(UNFINISHED, finished=False)


BEGUN = (
    ("B", 1),
    ("(B", 1),
    ("B.", 1),
    ("**B.** Ill", 1),
    ("Illinois", 1),
    ("A map of", None),
    ("(a) The distance of", None),
    ("B. Its border", None),
)


def test_a_letter_alone_needs_no_end():
    """With a limit of a few tokens it is all that a model can write."""
    assert not misread(BEGUN, finished=False)


def test_items_of_a_list_need_no_full_stop():
    """A list at the end of a long text does not look cut."""
    text = "B. Illinois\n\n" + WORKING * 5 + "\n- It is far west\n- It is not on the coast"
    assert extract_choice(text, STATES).answer == 1


def test_what_is_known_of_the_end_counts_more_than_how_it_looks():
    """A closing line counts in a finished text only."""
    text = WORKING + "So the state that lies farthest west is Illinois."
    assert extract_choice(text, STATES).answer == 1
    assert extract_choice(text, STATES, finished=True).answer == 1
    assert extract_choice(text, STATES, finished=False).rule == "unfinished"
    assert extract_choice("The answer is B.", STATES, finished=False).answer == 1
    cut = WORKING + "So the state is Illinois with its long northern border and"
    assert extract_choice(cut, STATES).rule == "unfinished"


JUDGED = (
    ("A. Alabama is incorrect. B. Illinois is correct. C is incorrect. D is incorrect.", 1),
    ("A. False. It is east.\nB. True. It is west.\nC. False.\nD. False. It is north.", 1),
    ("A. True.\nB. True.\nC. False.\nD. False.", None),
    ("Option A is wrong. Option B is wrong. Option C is wrong. Option D is right.", 3),
    ("The answer is (B). Therefore, option C is also correct.", None),
    ("East of it (A is incorrect) and (B is incorrect). The answer is (C) and (D).", None),
)


def test_options_judged_one_by_one():
    """The one that is called correct when all have been judged."""
    assert not misread(JUDGED)


OTHERS = (
    ("\n\nNow, let's summarize the answers to all questions:\nThe answer is (A).\n(C).", 1),
    ("\n\nPutting all the answers together:\n1. A\n2. C", 1),
    ("\n\nHere are the answers to all of the questions: A, C, D.", 1),
    ("\n\nQuestion 7: Which?\nOptions:\nA. x\nB. y\nAnswer: The answer is (A).", 1),
    ("\n\n以上所有问题的答案: A, C, D", 1),
    ("\n\n总结所有答案:\nA\nC", 1),
    ("\nA. oak\nB. elm\nC. ash\nAnswer: The answer is (D).", 1),
    ("\n\nFinal Answer: A, B, A, C", 1),
    ("\n\nFinal answer: The answer is (A), (C) and (D), respectively.", 1),
    ("\nThe answer is (A).\nThe answer is (C).\nThe answer is (D).\nThe answer is", 1),
    (" The answer is (A). The answer is (C). The answer is (B). The answer is (A).", 1),
    ("\n" + "The answer is (B).\n" * 20, 1),
    ("\n\nExample 2: a map of Europe. The answer is (C).", 1),
)


def test_what_follows_and_belongs_to_other_questions():
    """A summary, other questions with their options, lists of answers, and cycles."""
    assert not misread([(f"{WORKING}The answer is (B).{after}", index) for after, index in OTHERS])


OURS = (
    "Which is farthest west?\nOptions: (A) Alabama (B) Illinois (C) South Carolina (D) Connecticut"
)
EXAMPLES = "Question 1: The answer is (A)\n\nQuestion 2: The answer is (C)\n\nQuestion 3: "
BEFORE = (
    (f"{EXAMPLES}It is west.\nThe answer is (B)", 1),
    (f"Q: What is 2 + 2?\nA: The answer is (C).\n\nQ: {OURS}\nA: The answer is (B).", 1),
    ("1. The answer is (A).\n2. The answer is (C).\n3. The answer is (D).", None),
    ("I cannot answer it.\n\nThe answer is (A)\nThe answer is (C)\nThe answer is (D)", None),
)


def test_the_answers_of_the_examples_are_not_ours():
    """They stand before our question, or in place of an answer."""
    assert not misread(BEFORE)


WITHIN = (
    ("We solve for Q: Q = 4. The answer is (B).", 1),
    ("First calculate Q1 and Q3: they are 2 and 8. The answer is (B).", 1),
    ("**Matching with Options:**\nThe map shows west. The answer is (B).", 1),
    ("Options: A is east. The answer is (B).", 1),
    ("Looking at the choices: Illinois is west. The answer is (B).", 1),
    ("The User: field is empty. The answer is (B).", 1),
    ("My question: which is west? Illinois. The answer is B.", 1),
)


def test_words_of_a_sentence_are_no_turns():
    """A turn, a question or a list of options begins a line, and looks like one."""
    assert not misread(WITHIN)


REJECTED = (
    ("The answer is (B). In most states there is typically not an inactive A.", 1),
    ("(B), but with the understanding that it may not be exact.", 1),
    ("(A) is incorrect because it is east.", None),
    ("The answer is (A) is incorrect because it is east.", None),
    ("The closest is (B), with a caveat.", 1),
    ("The closest option is (B), although none of the options is exact.", 1),
    ("The answer is (B). However, none of the options is right.", None),
    ("The closest option is (B). Still, the answer is not in the list.", None),
    ("None of the options is exact. The closest answer would be (B).", 1),
    ("The answer is (B), since none of the other options fits.", 1),
    ("The answer is (C), which is not on the coast.", 2),
    ("The best statement is (B). The others do not provide information on it.", 1),
    ("I'd say it's B, though A is close.", 1),
    ("The closest option is Illinois, which is not the correct answer.", None),
)


def test_rejections_and_what_are_none():
    """What takes an answer back is a judgement of it, or of all options."""
    assert not misread(REJECTED)


SEVERAL = (
    ("The answer is (A). \\boxed{B}", 0),
    ("Therefore (A). \\boxed{B}", 1),
    ("\\boxed{A} ... \\boxed{B}", None),
    ("The answer is (A). Some more words about the map. The answer is (C).", None),
    ("The answer is (A). Wait, that is wrong. The answer is (C).", 2),
    ("The answer is (A).\n\nFinal answer: (C)", 2),
    ("I initially thought the answer was A, but the answer is C.", 2),
    ("The answer is A. On second thought, it is C.", 2),
    ("Answer: A. Sorry, I meant B.", 1),
    ("Answer: A\n\nActually, on closer look, B.", 1),
    (
        "The answer is (A).\n\nWest is left. Illinois is left of it. It is far. The answer is (B).",
        1,
    ),
    ("The correct statement is C. The answer is (B).", 1),
    ("The answer is (A) for the first part and (C) for the second.", None),
    ("The answer is (A) if the map is old. If it is new, the answer is (C).", None),
    ("The most important ones are:\nA. Alabama\nC. South Carolina", None),
)


def test_of_several_statements_the_heavier_or_the_corrected_one_counts():
    """Explicit beats loose beats box beats closing line; a later one needs a sign of correction."""
    assert not misread(SEVERAL)


LIKE_LABELS = (
    ("The answer is (II).", ("I only", "II only", "I and II only"), 1),
    ("The answer is I and II.", ("I only", "II only", "I and II only"), 2),
    ("The answer is (A) The price is $160", ("$100", "$120", "$140", "(A) The price is $160"), 3),
    ("It is green.", ("(A) red", "(B) green"), 1),
    ("The answer is:\n\na) 5 m, b) 3 s", ("a) 4 m, b) 3 s", "a) 6 m, b) 3 s"), None),
    ("A: The ball is blue.", COLOURS, 2),
    ("copper(I) is meant. The answer is (B).", COLOURS, 1),
    ("1. Add 5.\n2. Divide by 5.\nSo the value is 3.", ("1", "2", "3"), 2),
)


def test_options_that_look_like_labels():
    """Numerals, parts, and labels that are the option's own."""
    found = [
        (text, extract_choice(text, choices).answer, index) for text, choices, index in LIKE_LABELS
    ]
    assert [row for row in found if row[1] != row[2]] == []


CLOSING = (
    ("Therefore, the state that matters is (B).", STATES, 1),
    ("So what he needs is:\n\nB. Illinois\n\nThis is a state.", STATES, 1),
    ("He is at risk of Illinois (B) as a consequence.", STATES, 1),
    ("We get 12 m/s first. Then 15 m/s. The speed is thus 18 m/s.", SPEEDS, 2),
    ("The answer is 36 / 2 = 18 m/s.", SPEEDS, 2),
    ("The answer is $\\sqrt{161} = 12\\sqrt{13}$.", ("12", "13", "161"), None),
)


@pytest.mark.parametrize(("said", "choices", "index"), CLOSING)
def test_a_final_line_may_stand_for_a_statement(said, choices, index):
    """After a working that names no other option."""
    assert extract_choice(f"We go step by step. {said}", choices).answer == index


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("B", "B"),
        ("It is far.\n\n**The answer is (B).** Yes.", "answer is (B)"),
        ("<think>no</think> So, **B**.", "So, **B"),
        ("Look: $\\boxed{\\text{B}}$", "\\boxed{\\text{B}}"),
        ("The state is Illinois.", "Illinois"),
        ("\u7b54\u6848\u662f\uff08B\uff09\u3002", "\u7b54\u6848\u662f\uff08B\uff09"),
        ("<CONCLUSION> B </CONCLUSION>", "B"),
        ('{"answer": "B"}', "B"),
        ("Nothing.", None),
    ],
)
def test_the_span_is_of_the_words_in_the_raw_text(raw, words):
    """Whatever was rewritten before."""
    span = extract_choice(raw, STATES).span
    assert (raw[slice(*span)] if span else None) == words


WRITTEN = (
    ("Log in with USER: root and then restart.", None),
    ("Log in:\nUSER: root\nPASS: secret", None),
    ("Write HUMAN: in capitals to begin the line.", None),
    ("[INST] is how that template begins a turn.", None),
    ("Use </s> to close the tag, then reload.", None),
    ("The old price is <s>ten</s> five.", None),
    ("The <|end|> token closes it.", None),
    ("First.\nQuestion: is this quoted? Yes.", None),
    ("Use it.\nUSER: next?\nASSISTANT: x", "Use it."),
    ("It is.\n\nUser: and?\n\nAssistant: no", "It is."),
    ("One.</s> [INST] two [/INST] three", "One."),
    ("[INST] Why? [/INST] Because.", "Because."),
    ("x is.\n### Instruction:\ny\n### Response:\nz", "x is."),
    ("Hello<|im_end|>\n<|im_start|>user\nhi", "Hello"),
    ("<think>An animal.</think>\n\nA brown hare.", "A brown hare."),
)


def test_written_answers_are_cut_at_turns_only():
    """Never at words within a sentence; None stands for the text as it is."""
    found = [(text, extract_open(text).answer, said or text) for text, said in WRITTEN]
    assert [row for row in found if row[1] != row[2]] == []
    assert extract_open("<think>An animal").answer is None


LABELS = Path(__file__).resolve().parents[2] / "shared" / "data" / "mmlu-pro" / "labelled.jsonl"


@pytest.mark.skipif(not LABELS.exists(), reason="the labelled outputs are not here")
def test_labelled_outputs():
    """At least 95% of them right, and at most 2% read as another option."""
    rows = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
    read = [extract_choice(row["raw"], row["choices"]).answer for row in rows]
    right = sum(x in (row["answer"], *row["also"]) for x, row in zip(read, rows, strict=True))
    unparsed = sum(
        x is None and None not in (row["answer"], *row["also"])
        for x, row in zip(read, rows, strict=True)
    )
    assert right >= 0.95 * len(rows)
    assert len(rows) - right - unparsed <= 0.02 * len(rows)
