"""`harness check` and `harness ask`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from transformers import AutoProcessor

from harness.cli import checking
from harness.cli.asking import Answer, lay_out
from harness.core.options import ModelOptions
from harness.core.types import Extraction, Output
from harness.families.tested import is_tested
from harness.models import loading
from harness.models.generative import GenerativeModel
from harness.sources.registry import find_source
from tests.families.checkpoint import build
from tests.families.dozen import DOZEN

FIGURE_1 = (
    "<SUMMARY> Find the state farthest west. </SUMMARY>\n\n<CAPTION> A map.\n\n"
    "<REASONING> Illinois is farthest west. </REASONING>\n\n<CONCLUSION> B </CONCLUSION>"
)


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights rarely end an answer; none of these tests needs a long one."""
    monkeypatch.setattr(checking, "TOKENS", 12)


def test_check_answers_alone_and_in_a_batch(command, tiny) -> None:
    """Device, dtype, memory, speed at batch 1 and 4, and whether the batch changes an answer."""
    report = command("check", tiny("llava"), "--json").json
    assert report["class"] == "LlavaForConditionalGeneration"
    assert report["dtype"] == "float32"
    assert report["same_answers_in_a_batch"] is True
    assert set(report["tokens_per_second"]) == {"batch 1", "batch 4"}
    assert len(report["answers"]) == 2


def test_check_says_what_a_model_can_do(command, tiny) -> None:
    """What runs it, batches, log-likelihoods, whose template, the tokens of a picture."""
    expected = {
        "llava-next": ("harness", True, "the one known for LLaVA-NeXT"),
        "moondream": ("harness", True, "the documented prompt of Moondream"),
        "vilt": ("own", True, "its own words"),
    }
    for name, (engine, scores, template) in expected.items():
        report = command("check", tiny(name), "--json").json
        assert (report["engine"], report["log_likelihoods"]) == (engine, scores)
        assert (report["template"], report["batches"]) == (template, "any prompts")
        assert report["picture_tokens"] > 1
        assert report["tested"] is True


def test_check_counts_the_tokens_of_a_picture(tiny) -> None:
    """As many as the processor puts into the prompt for a picture of 1024 x 768."""
    source = find_source(ModelOptions(model=str(tiny("llava-next")), device="cpu"))
    processor = AutoProcessor.from_pretrained(tiny("llava-next"), backend="pil")
    picture = Image.new("RGB", (1024, 768))
    ids = processor(images=[[picture]], text=["<image>"], return_tensors="pt")["input_ids"][0]
    ours = checking._picture_tokens(source, source.load())
    # Its line ends, which this vocabulary needs some bytes for.
    assert 0 <= ours - int((ids == processor.image_token_id).sum()) <= 3


def test_a_picture_is_counted_where_a_prompt_needs_one(tmp_path: Path) -> None:
    """Of PaliGemma, which takes no prompt without one, by the image tokens themselves."""
    folder = build(DOZEN["paligemma"], tmp_path / "paligemma")
    source = find_source(ModelOptions(model=str(folder), device="cpu"))
    assert checking._picture_tokens(source, source.load()) == 16


def test_check_warns_of_a_type_that_nobody_has_tested(command, tiny, monkeypatch, caplog) -> None:
    """The generic family runs it on trust; where there are tests there is no such line. What is
    loaded is said first, and the report is a table."""
    words = "has a model of the type llava"
    loading._say_generic.cache_clear()
    arguments = ("check", tiny("llava"), "--engine", "transformers", "--device", "cpu")
    tested = command(*arguments)
    assert words not in tested.stdout + caplog.text
    assert "peak memory" in tested.stdout
    assert "llava, tested; float32 on cpu. Loading ..." in tested.stderr.splitlines()[0]
    monkeypatch.setattr(checking, "is_tested", lambda _: False)
    monkeypatch.setattr(loading, "is_tested", lambda _: False)
    result = command(*arguments)
    assert result.code == 0
    assert f"none {words}" in result.stdout
    assert f"No test {words}" in caplog.text
    assert not is_tested("llava_of_tomorrow")


def test_check_says_why_options_are_not_scored(command, tiny, monkeypatch) -> None:
    """The model fails on it, say; it answers all the same."""

    def fails(*_: object) -> None:
        raise NotImplementedError("no cache to share")

    monkeypatch.setattr(GenerativeModel, "choose", fails)
    result = command("check", tiny("llava"), "--device", "cpu")
    assert result.code == 0
    assert "no: NotImplementedError: no cache to share" in " ".join(result.stdout.split())


def test_check_says_what_would_be_downloaded(command) -> None:
    """What is missing, the command that fetches it, and its size, before anyone waits for it."""
    result = command("check", "phi-3.5")
    assert result.code == 3
    assert "hf download microsoft/Phi-3.5-vision-instruct" in result.stderr
    assert "8.3 GB" in result.stderr


def test_random_weights_need_nothing(command, tmp_path: Path, monkeypatch) -> None:
    """--weights random builds the row's architecture once, and keeps it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        report = command(
            "check", "moondream", "--weights", "random", "--size", "tiny", "--json"
        ).json
        assert report["weights"] == "random weights"
    assert [path.name for path in (tmp_path / "harness" / "random").iterdir()] == ["moondream-tiny"]


def test_ask_one_question(command, tiny, drawn: Path) -> None:
    """One question from the shell, with a picture and options, or without either."""
    arguments = ("ask", "--model", tiny("llava"), "--max-new-tokens", 5, "--json")
    picture = drawn / "images" / "biology-00.png"
    answer = command(
        *arguments, "-q", "How many?", "-i", picture, "--choices", "2", "--choices", "3"
    ).json
    assert "How many? Options: A: 2, B: 3" in answer["output"]["prompt"]
    assert "<image>" in answer["output"]["prompt"]
    answer = command(*arguments, "-q", "Why?").json
    assert "<image>" not in answer["output"]["prompt"]
    assert command(*arguments, "-q", "Why?", "--choices", "x").code == 2
    assert command(*arguments, "-q", "Why?", "-i", drawn / "no.png").code == 3


def test_ask_says_what_the_model_saw(command, tiny, drawn: Path) -> None:
    """The tiles and the image tokens of the picture, for each of several models."""
    picture = drawn / "images" / "biology-00.png"
    arguments = ("ask", "-m", tiny("llava"), "-m", tiny("llava-next"), "--max-new-tokens", 3)
    shown = command(*arguments, "-q", "Why?", "-i", picture)
    assert shown.stdout.count("image tokens") == 2
    told = shown.stderr.splitlines()[:2]
    assert [line.rpartition(". ")[2] for line in told] == ["Loading ..."] * 2
    one, several = command(*arguments, "-q", "Why?", "-i", picture, "--json").json["answers"]
    assert len(one["pictures"]["inputs"]["pixel_values"]) == 4
    _, tiles, _, height, width = several["pictures"]["inputs"]["pixel_values"]
    assert f"{tiles} tiles of {width} x {height}" in " ".join(shown.stdout.split())
    assert several["pictures"]["tokens"] > one["pictures"]["tokens"] > 1


def test_a_structured_answer_is_laid_out_by_stage() -> None:
    """As in the paper's Figure 1, a caption that was never closed included."""
    answer = Answer(Output(FIGURE_1, "", 9, 40), Extraction(1, "conclusion"), 2.0)
    assert lay_out(answer, ["Alabama", "Illinois"]) == (
        "Summary\n  Find the state farthest west.\n\nCaption\n  A map.\n\n"
        "Reasoning\n  Illinois is farthest west.\n\nConclusion\n  B\n\n"
        "Answer: B, Illinois (rule: conclusion)\n2.0 s, 40 tokens, 20 tokens/s"
    )


def test_an_answer_without_stages_is_shown_as_it_is() -> None:
    """The output says when the answer is unparsed, or the token limit cut it."""
    answer = Answer(Output("no idea", "", 9, 2), Extraction(None, "refusal"), 1.0)
    assert lay_out(answer, ["x", "y"]).startswith("no idea\n\nAnswer: unparsed (refusal)")
    cut = Answer(Output("no i", "", 9, 2, finish="length"), Extraction(None, "unfinished"), 1.0)
    assert lay_out(cut, ["x", "y"]).endswith("2 tokens/s, cut at the token limit")
