"""Metrics that grade each answer, metrics of a corpus, of groups: their figures and intervals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.types import Contributions, Metric, Prediction, Reference
from harness.metrics.accuracy import ACCURACY
from harness.metrics.anls import ANLS, anls
from harness.metrics.clusters import clusters, groups
from harness.metrics.figures import figures, score_each, with_scores
from harness.metrics.registry import METRICS, metric
from harness.metrics.statistics import bootstrap, clustered_standard_error, percentile_interval
from harness.metrics.vqa_accuracy import VQA_ACCURACY, normalize, vqa_accuracy


def answered(number: int, answer: Any, target: Any, **fields: Any) -> Prediction:
    return Prediction(
        sample_id=str(number), raw=str(answer), answer=answer, rule="", target=target, **fields
    )


def graded(values: list[float | None], **fields: Any) -> list[Prediction]:
    return [answered(i, str(v), "x", metadata={"v": -1 if v is None else v}, **fields)
            for i, v in enumerate(values)]  # fmt: skip


def given(prediction: Prediction) -> float | None:
    value = float(prediction.metadata["v"])
    return None if value < 0 else value


OWN = Metric("own", "Own", given)


def test_a_graded_metric_is_the_mean_with_a_bootstrap_interval() -> None:
    """The mean, its n, the interval of resampled means, and each answer's own score."""
    found = figures(graded([0.2, 0.5, 1.0, 0.3]), [OWN])
    value = found.values["own"]
    drawn = bootstrap(np.array([[0.2], [0.5], [1.0], [0.3]]), lambda means: means[..., 0])
    assert value.value == pytest.approx(0.5)
    assert (value.n, (value.low, value.high)) == (4, percentile_interval(drawn))
    assert [p.scores["own"] for p in found.predictions] == [0.2, 0.5, 1.0, 0.3]


def test_none_is_not_scored_and_not_zero() -> None:
    """It is in neither the mean nor the n, and the answer has no score; failed samples likewise."""
    rows = [*graded([1.0, None, 0.0]), answered(9, None, "x", error="no image")]
    found = figures(rows, [OWN])
    assert (found.values["own"].value, found.values["own"].n) == (0.5, 2)
    assert ["own" in p.scores for p in found.predictions] == [True, False, True, False]
    nothing = figures(graded([None, None]), [OWN]).values["own"]
    assert (nothing.value, nothing.n, nothing.note) == (None, 0, "not computed: no answers")


def said_yes(prediction: Prediction) -> tuple[float, float, float]:
    said, is_so = prediction.answer == "yes", prediction.target == "yes"
    return float(said and is_so), float(said and not is_so), float(is_so and not said)


def f1(hits: Any, false: Any, missed: Any) -> Any:
    return 2 * hits / (2 * hits + false + missed)


YES_F1 = Metric("f1", "F1", said_yes, aggregate=f1)


def test_a_corpus_metric_is_the_aggregate_of_the_means() -> None:
    """F1 of yes: 2 hits, 1 false, 1 missed is 2/3; no answer has a score of its own."""
    rows = [answered(i, a, t) for i, (a, t) in enumerate(
        [("yes", "yes"), ("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")]
    )]  # fmt: skip
    found = figures(rows, [YES_F1])
    assert found.values["f1"].value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found.values["f1"].low < found.values["f1"].value < found.values["f1"].high
    assert all("f1" not in p.scores for p in found.predictions)


def plain_f1(hits: float, false: float, missed: float) -> float:
    if not hits:
        return 0.0  # an array has no truth value
    return 2 * hits / (2 * hits + false + missed)


def test_an_aggregate_may_be_written_for_plain_numbers() -> None:
    """With an `if` in it, it has the figure and the interval of one that takes arrays."""
    rows = [answered(i, "yes" if i % 3 else "no", "yes" if i % 2 else "no") for i in range(30)]
    plain = Metric("f1", "F1", said_yes, aggregate=plain_f1)
    assert figures(rows, [plain]).values["f1"] == figures(rows, [YES_F1]).values["f1"]


def test_an_aggregate_that_is_undefined_is_no_figure() -> None:
    """Nobody says yes, and it never is: 0 / 0 is neither 0 nor an error."""
    value = figures([answered(0, "no", "no")], [YES_F1]).values["f1"]
    assert (value.value, value.n) == (None, 1)
    assert "undefined" in value.note


def rotated(right: list[list[int]], topic: str = "") -> list[Prediction]:
    return [
        answered(10 * q + r, ok, 1, choices=("x", "y"), group=str(q), topic=topic)
        for q, each in enumerate(right)
        for r, ok in enumerate(each)
    ]


def test_a_group_is_right_where_all_its_rotations_are() -> None:
    """Circular accuracy: of three questions one is right throughout; n counts questions."""
    circular = Metric("circular", "Circular", ACCURACY.per_sample, per_group=min, interval="wilson")
    found = figures(rotated([[1, 1], [1, 0], [0, 0]], topic="maps"), [circular, ACCURACY])
    assert (found.values["circular"].value, found.values["circular"].n) == (1 / 3, 3)
    assert (found.values["circular/maps"].value, found.values["circular/maps"].n) == (1 / 3, 3)
    assert (found.values["accuracy"].value, found.values["accuracy"].n) == (0.5, 6)
    assert found.values["circular"].note == "95% Wilson interval"


def test_groups_widen_the_interval_of_a_share() -> None:
    """Twenty questions of four rotations that stand and fall together are twenty, not eighty."""
    rows = rotated([[1] * 4 if q % 2 else [0] * 4 for q in range(20)])
    alone = figures([Prediction(**{**{f: getattr(p, f) for f in p.__slots__}, "group": ""})
                     for p in rows], [ACCURACY]).values["accuracy"]  # fmt: skip
    together = figures(rows, [ACCURACY]).values["accuracy"]
    se = clustered_standard_error([p.answer for p in rows], [p.group for p in rows])
    assert together.high == pytest.approx(0.5 + 1.959963984540054 * se)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert "clustered by group" in together.note


def test_groups_are_resampled_whole() -> None:
    """A graded metric's bootstrap draws groups where samples have them."""
    rows = [answered(i, "a", "x", metadata={"v": i % 2}, group=str(i // 8)) for i in range(16)]
    assert figures(rows, [OWN]).values["own"].low is None  # both groups have the same mean


def test_what_shares_a_group_or_its_images_is_one_cluster() -> None:
    """Also in a chain; what shares nothing is alone, and None says that all are."""
    rows = [
        answered(0, 0, 0, group="a"),
        answered(1, 0, 0, group="a", images=("p",)),
        answered(2, 0, 0, images=("p",)),
        answered(3, 0, 0, images=("q",)),
        answered(4, 0, 0),
        answered(5, 0, 0),
    ]
    assert clusters(rows) == [0, 0, 0, 1, 2, 3]
    assert clusters(rows[3:]) is None
    assert groups(rows) == [0, 0, 1, 2, 3, 4]
    assert groups(rows[1:]) is None


@pytest.mark.parametrize(
    "wrong", [lambda p: "high", lambda p: float("nan"), lambda p: (1,) * (1 + int(p.sample_id))]
)
def test_what_is_no_number_is_an_error_that_names_the_metric(wrong: Any) -> None:
    """And answers that are scored as they come are kept without it."""
    bad = Metric("bad", "Bad", wrong)
    rows = graded([1.0, 0.0])
    with pytest.raises(HarnessError, match=r"the metric bad gave .*; it must give a finite number"):
        figures(rows, [bad])
    assert score_each(rows[:1], [OWN])[0].scores == {"own": 1.0}
    assert "bad" not in score_each(rows, [bad, OWN])[0].scores


@pytest.mark.parametrize("parts", [{}, {"per_sample": given, "batch": Contributions}])
def test_a_metric_has_one_way_to_score(parts: dict[str, Any]) -> None:
    """Neither and both are refused where the metric is made."""
    with pytest.raises(ValueError, match="needs per_sample or batch"):
        Metric("m", "M", **parts)


def test_the_registry_has_each_metric_under_its_own_name() -> None:
    """A name leads to a metric that is called so; an unknown name to None."""
    for name in METRICS:
        found = metric(name)
        assert found is not None
        assert found.name == name
        assert found.meaning
    assert metric("own") is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Cat\n", "cat"),
        ("None", "0"),
        ("ten dogs", "10 dogs"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("red/blue", "red blue"),
        ("red /blue", "red blue"),
        ("red / blue", "red blue"),
        ("1,000", "1000"),
        ("a,b", "b"),
        ("U.S.", "us"),
        ("3.5", "3.5"),
        ("3. 5", "3 5"),
        (".5", ".5"),
        ("x.5", "x.5"),
        ("." * 40, "." * 8),
        ("it's", "it's"),
        ("a-b 1,2", "ab 12"),
    ],
)
def test_texts_are_compared_as_the_reference_compares_them(text: str, normal: str) -> None:
    """Odd rules included: 32 full stops at most; marks go everywhere where a comma joins digits."""
    assert normalize(text) == normal


def test_vqa_accuracy_leaves_each_reference_out_in_turn() -> None:
    """Matches 0 to 4 and 10 of 10: 0, 0.3, 0.6, 0.9, 1, 1; capitals make no difference."""
    for matches, expected in [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]:
        references = ("Yes",) * matches + tuple("abcdefghij"[matches:])
        references = tuple(f"{r}{r}" if len(r) == 1 else r for r in references)
        assert vqa_accuracy("yes.", references) == pytest.approx(expected)
    assert vqa_accuracy("the dog", ("dog",)) == 1.0


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("Cat", ("cat",), 1.0),
        (" a  cat ", ("A cat",), 1.0),
        ("cart", ("cat",), 0.75),
        ("ab", ("ax",), 0.5),
        ("abc", ("axx",), 0.0),
        ("cat", ("dog", "cats", "cat"), 1.0),
        ("", ("cat",), 0.0),
    ],
)
def test_anls_is_the_best_similarity_from_a_half_on(
    answer: str, references: tuple[str, ...], expected: float
) -> None:
    """Exactly 0.5 is kept, as the reference code does it."""
    assert anls(answer, references) == pytest.approx(expected)


def test_an_unparsed_answer_scores_0() -> None:
    """Whatever the references say."""
    rows = [answered(0, None, (Reference("a"), Reference("b")))]
    assert [m.per_sample(rows[0]) for m in (VQA_ACCURACY, ANLS)] == [0.0, 0.0]


def test_textvqa_has_its_published_score(real_data: Path) -> None:
    """LLaVA-1.5-13B on the validation split: 61.25, published as 61.3."""
    file = real_data / "published" / "textvqa-val.llava-v1.5-13b.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    predictions = [
        answered(i, row["raw"], tuple(map(Reference, row["answers"]))) for i, row in enumerate(rows)
    ]
    value = figures(predictions, [VQA_ACCURACY]).values["vqa_accuracy"]
    assert round(100 * value.value, 2) == 61.25
    assert with_scores(predictions, [VQA_ACCURACY])[0].scores["vqa_accuracy"] == pytest.approx(0.9)
