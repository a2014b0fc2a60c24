"""The SVRD tags: written exactly as the paper has them, read however a model writes them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.structured import (
    SECTIONS,
    Rationale,
    conclusion,
    parse,
    render,
    span,
    strict_conclusion,
)

RATIONALE = Rationale("I will look.", "A map.", "Illinois is west.", "B")
TEXT = (
    "<SUMMARY> I will look. </SUMMARY>\n\n<CAPTION> A map. </CAPTION>\n\n"
    "<REASONING> Illinois is west. </REASONING>\n\n<CONCLUSION> B </CONCLUSION>"
)
# Figure 5 of the paper in short: its caption has no closing tag.
FIGURE_5 = (
    "<SUMMARY> I will look. </SUMMARY>\n\n<CAPTION> The image is a map.\n\n"
    "<REASONING> It is Illinois. </REASONING>\n\n<CONCLUSION> A </CONCLUSION>"
)


def test_render_is_the_papers_text():
    """A rationale is written with spaces inside the tags and a blank line between sections."""
    assert render(RATIONALE) == TEXT


def test_parse_gives_back_what_was_rendered():
    """Extraction a rendered rationale gives the same rationale, with nothing to complain about."""
    parsed = parse(TEXT)
    assert parsed.rationale == RATIONALE
    assert parsed.well_formed


def test_a_caption_without_its_closing_tag_ends_at_the_next_tag():
    """Figure 5 is read whole, and the missing tag is reported."""
    parsed = parse(FIGURE_5)
    assert parsed.rationale == Rationale(
        "I will look.", "The image is a map.", "It is Illinois.", "A"
    )
    assert parsed.unclosed == ("CAPTION",)
    assert parsed.missing == ()
    assert not parsed.well_formed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<CONCLUSION> B </CONCLUSION>", "B"),
        ("<conclusion>b</conclusion>", "b"),
        ("< CONCLUSION > B < / CONCLUSION >", "B"),
        ("<CONCLUSION> B", "B"),
        ("<CONCLUSION> A </CONCLUSION> No: <CONCLUSION> B </CONCLUSION>", "B"),
        ("<CONCLUSION> B </CONCLUSION><CONCLUSION>", "B"),
        ("<CONCLUSION> A <CONCLUSION> B </CONCLUSION>", "B"),
        ("<CONCLUSION> B </CONCLUSION> <REASONING> After it. </REASONING>", "B"),
        ("<CONCLUSION> B </REASONING> more", "B"),
        ("<CONCLUSION></CONCLUSION>", ""),
        ("<CONCLUSION>", ""),
        ("B </CONCLUSION>", None),
        ("no tags", None),
        ("", None),
    ],
)
def test_conclusion(text, expected):
    """The last conclusion that says something counts, closed or not, in any case."""
    assert conclusion(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<CONCLUSION> B </CONCLUSION>", "B"),
        ("<CONCLUSION>A</CONCLUSION><CONCLUSION>B</CONCLUSION>", "A"),
        ("<conclusion> B </conclusion>", None),
        ("<CONCLUSION> B", None),
        ("B </CONCLUSION>", None),
        ("</CONCLUSION> <CONCLUSION> B", None),
    ],
)
def test_strict_conclusion(text, expected):
    """The paper's way of reading wants both tags, exactly."""
    assert strict_conclusion(text) == expected


def test_what_is_missing_repeated_out_of_order_or_outside_is_reported():
    """Each flaw of a text has its own field."""
    parsed = parse("Sure! <REASONING> r </REASONING> <CAPTION> </CAPTION> <REASONING> s")
    assert parsed.missing == ("SUMMARY", "CAPTION", "CONCLUSION")
    assert parsed.repeated == ("REASONING",)
    assert parsed.reasoning == "s"
    assert parsed.summary is None
    assert parsed.caption == ""
    assert not parsed.in_order
    assert parsed.outside == "Sure!"
    assert parsed.rationale is None


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("</CAPTION>", ""),
        TEXT + " B",
        TEXT + TEXT,
        TEXT.replace("B", ""),
        "\n\n".join(reversed(TEXT.split("\n\n"))),
    ],
)
def test_a_flaw_makes_it_not_well_formed(text):
    """A rationale is well formed only without any flaw."""
    assert not parse(text).well_formed


def test_span_is_from_the_first_tag_to_the_end_of_the_first_conclusion():
    """The span of a rationale leaves out what stands before it and what was invented after it."""
    assert span(f"Sure. {TEXT} Question: {TEXT}") == (6, 6 + len(TEXT))
    assert span("ab <SUMMARY> cd") == (3, 15)
    assert span("no tags") is None


@given(st.lists(st.text(alphabet="ab .\n<>/", min_size=1), min_size=4, max_size=4))
def test_round_trip(stages):
    """Any four stages that are not blank and hold no tag survive being written and read."""
    rationale = Rationale(*(f"x{stage}x" for stage in stages))
    assert parse(render(rationale)).rationale == rationale


@given(st.lists(st.sampled_from([f"<{s}{n}>" for s in ("", "/") for n in SECTIONS] + ["x", " "])))
def test_any_mix_of_tags_is_read(pieces):
    """No order of tags fails, and only what stands after an opening tag is found in a section."""
    parsed = parse("".join(pieces))
    for name in SECTIONS:
        assert (getattr(parsed, name.lower()) is not None) == (f"<{name}>" in pieces)


@pytest.mark.parametrize(
    "piece", ["<CONCLUSION>", "</CONCLUSION>", "<CONCLUSION> B ", "<", "<   ", "<SUMMARY", "< / "]
)
def test_hostile_repetition_takes_linear_time(piece):
    """A megabyte of any tag, or of half of one, is read in well under a second."""
    text = piece * (1_000_000 // len(piece))
    before = time.process_time()
    parse(text)
    strict_conclusion(text)
    span(text)
    assert time.process_time() - before < 60
