"""Runs that lack questions are compared on those that both have, and no sentence of the page claims
more than the paired tests show."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.types import Prediction
from harness.metrics.accuracy import ACCURACY
from harness.metrics.questions import are_same, digests, joint, shared
from harness.metrics.statistics import mcnemar, paired_bootstrap
from harness.run.records import Counts, ModelInfo, RunRecord, TaskInfo
from harness.run.scoring import scored
from harness.run.verdicts import LEVEL, verdict
from reports.distillation.panel import panel
from reports.export.formats import delimited, json_document, markdown
from reports.inputs.discovery import gather
from reports.inputs.material import RunData
from reports.inputs.paper import load
from reports.page.samples.columns import columns_of
from reports.page.samples.groups import Group, collect
from reports.page.sections import RunGroup, TaskSection, overview, sections
from reports.page.summary import summary
from reports.statistics.answers import Answers, Computed, read
from reports.statistics.comparable import comparable
from reports.statistics.paired import RunScores, Scoring
from reports.statistics.ranks import Rank, best_first, pairwise_tests, ranks
from tests import league


def question(number: int, **parts: Any) -> Prediction:
    fields = {
        "sample_id": str(number),
        "raw": "",
        "answer": 0,
        "rule": "letter",
        "target": 0,
        "choices": ("x", "y"),
        "question": f"Which of {number}?",
    }
    return Prediction(**(fields | parts))


def run(name: str, right: Mapping[int, bool], *, other: Iterable[int] = ()) -> RunData:
    """A run with an answer to each of the questions, `other` ones with another text."""
    changed = set(other)
    predictions = [
        question(
            number,
            answer=0 if is_right else 1,
            **({"question": f"Which else of {number}?"} if number in changed else {}),
        )
        for number, is_right in right.items()
    ]
    n = len(predictions)
    record = RunRecord(
        task=TaskInfo(name="shared", title="Shared", split="test", source="made up"),
        model=ModelInfo(name=name, title=name.capitalize()),
        fingerprint={"data": f"sha256:{n}"},
        counts=Counts(total=n, available=n),
    )
    record, predictions = scored(record, predictions, [ACCURACY])
    return RunData(record, lambda: predictions)


def section(runs: Sequence[RunData]) -> TaskSection:
    answers = known(runs)
    return next(
        each for each in sections([run.record for run in runs], answers) if each.name == "shared"
    )


def known(runs: Sequence[RunData]) -> dict[str, Answers]:
    return {found.run: found for run in runs if (found := read(run))}


def best(found: TaskSection) -> str:
    """What the page says of the best run."""
    (question, *_) = summary([found], [], load())
    part = question.answer[0]
    return f"{part.verdict} {part.text}"


def draws(seed: int, n: int, share: float) -> dict[int, bool]:
    chance = random.Random(seed)
    return {number: chance.random() < share for number in range(n)}


def test_the_best_run_may_lack_questions_in_every_order() -> None:
    """Three runs, the best of them without ten of 500 questions: it is first, and the sentence says
    on how many questions; a missing question is not a wrong one."""
    models = {"worse": 0.2, "middle": 0.3, "best": 0.5}
    right = {name: draws(seed, 500, share) for seed, (name, share) in enumerate(models.items())}
    right["best"] = {key: value for key, value in right["best"].items() if key % 50 != 3}
    assert len(right["best"]) == 490
    made = {name: run(name, answers) for name, answers in right.items()}
    said = set()
    for order in itertools.permutations(made):
        found = section([made[name] for name in order])
        (group,) = found.run_groups
        assert [each.model.name for each in group.runs] == ["best", "middle", "worse"]
        assert group.tests is not None
        assert group.tests.ranks["run:shared:best:test"] == Rank(1, 1)
        said.add(best(found))
    (words,) = said
    share = 100 * sum(right["best"].values()) / 490
    assert words.startswith(
        f"Best, accuracy {share:.2f}% (rank 1 of 3 runs, on 490 shared questions). Against Middle, "
        "the second: +"
    )
    assert " on 490 shared questions; p <0.0001 alone, <0.0001 after Holm correction for 3" in words
    assert "each of the 2 other runs, on the 490 questions that it shares with each" in words


def test_a_better_figure_of_its_own_does_not_come_first() -> None:
    """Ahead on the shared questions, behind in the figures of their own: the first of the two is
    first, and the page says why. No column is marked as sorted."""
    ahead = dict.fromkeys(range(440), True) | dict.fromkeys(range(440, 500), False)
    behind = dict.fromkeys(range(20), False) | dict.fromkeys(range(20, 450), True)
    found = section([run("ahead", ahead), run("behind", behind)])
    (group,) = found.run_groups
    own = {each.model.name: each.metrics["accuracy"].value or 0 for each in group.runs}
    assert own["behind"] > own["ahead"]
    assert list(own) == ["ahead", "behind"]
    assert found.scores is not None
    assert [row.title for row in found.scores.groups[0].rows] == ["Ahead", "Behind"]
    assert found.scores.sorted_by == ""
    models = overview([found])
    assert models is not None
    assert [row.title for row in models.groups[0].rows] == ["Ahead", "Behind"]
    assert models.sorted_by == ""
    assert (
        "Behind has 95.56% on 450 questions of its own; against it Ahead has +2.2 points"
        in best(found)
    )


def test_runs_that_share_too_little_stand_apart_with_the_reason() -> None:
    """Two halves of the questions are ranked with the whole, not with each other."""
    whole = draws(1, 200, 0.6)
    first = {n: value for n, value in draws(2, 200, 0.5).items() if n < 110}
    second = {n: value for n, value in draws(3, 200, 0.5).items() if n >= 90}
    found = section([run("second", second), run("whole", whole), run("first", first)])
    assert [[r.model.name for r in group.runs] for group in found.run_groups] == [
        ["whole", "first"],
        ["second"],
    ]
    assert found.scores is not None
    assert found.scores.groups[1].title.endswith(
        "ranked apart: Second and First share 20 of 110 questions, less than 90%"
    )
    assert "110 to 200 questions" in found.scores.groups[0].title


def test_changed_questions_are_not_shared() -> None:
    """Nine of a hundred questions with another text: compared on 91; eleven: apart."""
    one, two = draws(1, 100, 0.9), draws(2, 100, 0.5)
    for number, groups, n in ((9, 1, 91), (11, 2, None)):
        found = section([run("one", one), run("two", two, other=range(number))])
        assert len(found.run_groups) == groups
        tests = found.run_groups[0].tests
        assert (tests.pairs[0].n if tests else None) == n


@pytest.mark.parametrize("seed", range(12))
def test_no_run_is_better_than_one_that_is_said_to_be_best(seed: int) -> None:
    """Whatever is missing or changed, and in whichever order: where the page says rank 1, each
    paired test against another run of its group is significant after the correction, and no run of
    the page is significantly better on the questions that they share. Computed here anew."""
    chance = random.Random(seed)
    n = 150
    hard = [chance.gauss(0, 1) for _ in range(n)]
    runs, right = [], {}
    for number in range(chance.randint(3, 6)):
        ability = chance.choice((-2, -0.5, 0, 0.5, 2))
        missing = chance.choice((0, 0, 5, 15, 60, 100))
        lacks = set(chance.sample(range(n), missing))
        if chance.random() < 0.3:  # the hard ones are missing: its own figure flatters it
            lacks = set(sorted(range(n), key=hard.__getitem__)[n - missing :])
        changed = set(chance.sample(range(n), chance.choice((0, 0, 0, 10, 40))))
        answers = {q: chance.gauss(0, 1) < ability - hard[q] for q in range(n) if q not in lacks}
        name = f"m{number}"
        right[f"run:shared:{name}:test"] = {
            (q, q in changed): answer for q, answer in answers.items()
        }
        runs.append(run(name, answers, other=changed))
    found = section(runs)
    claims = 0
    for group in found.run_groups:
        for name, rank in (group.tests.ranks if group.tests else {}).items():
            if rank == Rank(1, 1):
                claims += 1
                _check_claim(name, group, right)
    headline = best(found)
    assert ("(rank 1" in headline) <= bool(claims)


def _check_claim(name: str, group: RunGroup, right: dict[str, dict[Any, bool]]) -> None:
    members = {f"run:shared:{each.model.name}:test" for each in group.runs}
    for other, theirs in right.items():
        if other == name:
            continue
        ours = right[name]
        both = [key for key in ours if key in theirs]
        won = sum(ours[key] and not theirs[key] for key in both)
        lost = sum(theirs[key] and not ours[key] for key in both)
        p = mcnemar(lost, won)
        assert not (p < LEVEL and lost > won), (name, other)
        if other in members:
            assert won > lost
            assert p < LEVEL


def test_a_better_run_that_is_ranked_apart_takes_the_first_rank_away() -> None:
    """On 40 shared questions of 100: too few to be ranked together, enough to be better."""
    leader = {n: n % 3 > 0 for n in range(300)}
    last = dict.fromkeys(range(300), False)
    apart = dict.fromkeys((n for n in range(120) if n % 3 == 0), True)
    apart |= dict.fromkeys(range(1000, 1060), False)
    found = section([run("leader", leader), run("last", last), run("apart", apart)])
    first, second = found.run_groups
    assert [each.model.name for each in second.runs] == ["apart"]
    assert first.tests is not None
    assert first.tests.ranks["run:shared:leader:test"] == Rank(1, 2)
    assert "(rank 1" not in best(found)
    assert "Apart, ranked apart, against Leader: +100.0 points on 40 shared questions" in best(
        found
    )


def test_of_two_runs_that_are_ranked_apart_the_better_one_is_named() -> None:
    """They share 80 of 100 questions: too few for a rank, enough to see which is better."""
    worse = {n: n % 5 == 0 for n in range(100)}
    better = {n: n % 5 > 0 for n in range(20, 120)}
    for made in ((worse, better), (better, worse)):
        found = section([run("first", made[0]), run("second", made[1])])
        assert [len(group.runs) for group in found.run_groups] == [1, 1]
        name = "First" if made[0] is better else "Second"
        assert best(found).startswith(f"{name}, accuracy 80.00% (ranked with no other run). ")
        assert "share 80 of 100 questions, less than 90%" in best(found)


def test_of_many_runs_that_are_ranked_apart_few_are_named() -> None:
    """Six, each two of which share 20 of 100 questions: three reasons, and how many more."""
    made = [
        run(f"r{place}", draws(place, 20, 0.5) | dict.fromkeys(range(start, start + 80), True))
        for place, start in enumerate(range(100, 700, 100))
    ]
    found = best(section(made))
    assert found.count("share 20 of 100 questions, less than 90%.") == 3
    assert found.endswith("Ranked apart too: 2 more sets of runs.")


def test_runs_in_a_circle_are_not_separable() -> None:
    """Each is better than the next on the questions that the two share: none is first."""
    circle = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("b", "d"), ("c", "d")]
    found = ranks("abcd", circle)
    assert {found[name] for name in "abc"} == {Rank(1, 3)}
    assert found["d"] == Rank(4, 4)
    assert best_first("dcba", circle, []) == ["c", "b", "a", "d"]


def test_no_run_stands_before_one_that_is_significantly_better() -> None:
    """However many others it is ahead of."""
    scores = {
        "a": dict.fromkeys(range(40), 1.0),
        "b": dict.fromkeys(range(40), 0.0) | dict.fromkeys(range(40, 300), 1.0),
        "c": dict.fromkeys(range(40, 300), 0.0),
        "d": dict.fromkeys(range(40, 300), 0.0),
    }
    runs = [
        RunScores(name=name, scores={str(k): v for k, v in found.items()}, clusters={})
        for name, found in scores.items()
    ]
    for order in itertools.permutations(runs):
        found = pairwise_tests(order, test="mcnemar")
        assert found.order.index("a") < found.order.index("b")


def test_a_question_is_shared_where_its_own_digest_is_equal() -> None:
    """Text, options, target and pictures; what a run does not keep is not compared, nor a picture of
    which only the name is known; order of white space aside."""
    asked = digests([question(1, images=("ab",))])["1"]
    same = [{}, {"question": " Which of  1?\n"}, {"images": ("name:1.png",)}, {"images": ("",)}]
    for parts in same:
        assert are_same(asked, digests([question(1, **{"images": ("ab",), **parts})])["1"]), parts
    others = [
        {"question": "Which of 2?"},
        {"choices": ("x", "z")},
        {"target": 1},
        {"images": ("cd",)},
    ]
    for parts in others:
        other = digests([question(1, **{"images": ("ab",), **parts})])["1"]
        assert not are_same(asked, other), parts
    silent = digests([question(1, question="")])
    assert are_same(asked, silent["1"])
    told = digests([question(1, images=("ab",)), question(2)])
    assert not are_same(told["2"], digests([question(2, images=("ab",))])["2"])
    assert shared(told, {"2": told["2"], "3": asked}) == ["2"]


def test_a_group_of_other_samples_is_another_question() -> None:
    """A group that lacks a sample is not scored against the whole group."""
    found = digests([question(n) for n in range(3)])
    assert are_same(joint(found.items()), joint(reversed(found.items())))
    assert not are_same(joint(found.items()), joint(list(found.items())[:2]))
    runs = [
        RunScores(
            name=name,
            scores=dict.fromkeys(keys, 1.0),
            clusters={},
            questions=digests([question(int(key)) for key in keys]),
            groups={key: str(int(key) // 2) for key in keys},
            scoring=Scoring(per_group=min),
        )
        for name, keys in (("a", "012345"), ("b", "01245"))
    ]
    (pair,) = pairwise_tests(runs, test="mcnemar").pairs
    assert pair.n == 2


def test_graded_runs_that_lack_questions_are_resampled_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where each pair shares other questions, one set of draws for all gives what a bootstrap of
    each pair gives, clusters and corpus scores included."""
    chance = np.random.default_rng(0)
    base = chance.random(300)
    runs = []
    for number in range(4):
        keys = [str(q) for q in range(300) if chance.random() < 0.93]
        scores = {
            key: (base[int(key)] / 2 + number / 40 + chance.random() / 5, 1.0 + chance.random())
            for key in keys
        }
        runs.append((f"m{number}", scores))
    clusters = {str(q): q // 2 for q in range(300)}
    ratio = Scoring(aggregate=lambda means: means[..., 0] / means[..., 1])
    for scoring in (Scoring(), ratio):
        made = [
            RunScores(
                name=name,
                scores=s if scoring is ratio else {key: value[0] for key, value in s.items()},
                clusters=clusters,
                scoring=scoring,
            )
            for name, s in runs
        ]
        each = pairwise_tests(made, test="bootstrap").pairs
        monkeypatch.setattr("reports.statistics.resampling._MAX_DRAWN", 0)
        together = pairwise_tests(made, test="bootstrap").pairs
        monkeypatch.undo()
        for one, two in zip(each, together, strict=True):
            assert one.difference is not None
            assert two.difference is not None
            assert (one.n, one.difference.n) == (two.n, two.difference.n)
            assert one.difference.difference == pytest.approx(two.difference.difference)
            se = one.difference.standard_error
            assert two.difference.standard_error == pytest.approx(se, rel=0.15)
            assert two.difference.low == pytest.approx(one.difference.low, abs=0.4 * se)
            assert (one.better is None) == (two.better is None)


def test_a_pair_has_one_verdict() -> None:
    """Difference, p alone, p after the correction, one conclusion."""
    d = paired_bootstrap(np.zeros((4, 1)), np.ones((4, 1)), lambda means: means[..., 0])
    d = replace(d, difference=0.2857, low=0.12, high=0.45, n=35, p=0.00634)
    measure = ACCURACY
    found = verdict(d, measure, ("A", "B"), corrected=0.1016, pairs=21)
    assert found.text == (
        "+28.6 points on 35 shared questions; p = 0.0063 alone, 0.10 after Holm correction for 21 "
        "pairs: not significant after Holm correction"
    )
    assert (found.better, found.interval) == (None, "+12.0 to +45.0")
    alone = verdict(replace(d, difference=-0.2857), measure, ("A", "B"))
    assert alone.text.endswith("; p = 0.0063: B is better")
    assert re.match("\N{MINUS SIGN}28.6 points", alone.text)
    assert verdict(None, measure, ("A", "B")).text == "no question in common"


def test_the_same_runs_are_grouped_alike_in_every_order() -> None:
    """The larger run first, whichever comes first."""
    sets = {"all": range(100), "most": range(95), "few": range(60, 100), "other": range(200, 260)}
    runs = [
        RunScores(name=name, scores={str(k): 1.0 for k in keys}, clusters={})
        for name, keys in sets.items()
    ]
    for order in itertools.permutations(runs):
        found = comparable(order)
        assert [set(group.names) for group in found] == [{"all", "most"}, {"other"}, {"few"}]


def test_the_trade_off_decides_on_shared_questions() -> None:
    """A run that skipped what it cannot answer has the higher figure, and is dominated by a cheaper
    run that is better where both answered; the caption says on which questions those that are drawn
    are compared."""
    ahead = dict.fromkeys(range(440), True) | dict.fromkeys(range(440, 500), False)
    behind = dict.fromkeys(range(20), False) | dict.fromkeys(range(20, 450), True)
    made = []
    for name, right, size in (("ahead", ahead, 10), ("behind", behind, 20)):
        found = run(name, right)
        model = replace(found.record.model, parameters=size * 10**9)
        made.append(replace(found, record=replace(found.record, model=model)))
    unknown = run("unknown", dict.fromkeys(range(460), False))
    (chart,) = section([*made, unknown]).run_groups[0].charts
    assert chart.absent == ("Unknown",)
    assert [(point.name, point.leads) for point in chart.points] == [
        ("Ahead", True),
        ("Behind", False),
    ]
    assert chart.caption[1] == "Dominated (hollow): Behind by Ahead."
    assert chart.caption[2].endswith("is decided on those that both answered (450).")


def test_the_gain_of_a_distillation_is_of_shared_questions(tmp_path: Path) -> None:
    """The student before training lacks 12 of 60 questions: the gain is that of 48, and says so."""
    league.write(tmp_path / "runs", questions=60)
    material, _ = gather(tmp_path / "runs")
    (made,) = [each for each in material.distillations if each.name == "moondream-kd"]
    (base,) = [each for each in made.base if each.record.task.name == "scienceqa"]
    kept = [p for number, p in enumerate(base.predictions()) if number % 5]
    short = replace(base, predictions=lambda: kept)
    answers = known([short if each.record == base.record else each for each in material.runs])
    shown = panel(replace(made, base=(short,)), answers, picture=lambda _: "")
    assert " points on 48 shared questions, from Moondream " in shown.headline[0]
    (short_answer,) = [e for e in summary([], [shown], load()) if e.lead == "Distillation"]
    assert " points on 48 shared questions, from " in short_answer.in_short[0].verdict
    assert shown.headline[1].startswith(
        "On the 48 questions that both answered (Moondream 48, Moondream-kd 60), 95% interval "
    )
    assert shown.gains is not None
    assert "on the 48 questions that both answered" in shown.gains.caption
    (whole, *_) = shown.gains.groups[0].rows
    student = {p.sample_id: p.scores["accuracy"] for p in kept}
    assert whole.cells[1].value == pytest.approx(100 * sum(student.values()) / 48)
    assert whole.cells[3].n == 48


def test_errors_are_not_answers() -> None:
    """Failed, cut, unparsed and missing questions are counted beside the score, in tables and in
    exports; where none is, nothing stands there."""
    whole = run("whole", draws(1, 60, 0.6))
    predictions = [
        replace(p, error="no connection", scores={}) if number < 2 else p
        for number, p in enumerate(run("some", draws(2, 60, 0.5)).predictions())
        if number < 55
    ]
    predictions[10] = replace(predictions[10], answer=None, scores={})
    predictions[11] = replace(predictions[11], finish="length")
    record, predictions = scored(run("some", {}).record, predictions, [ACCURACY])
    found = section([whole, RunData(record, lambda: predictions)])
    assert found.scores is not None
    place = [heading.key for heading in found.scores.headings].index("accuracy")
    cells = {row.title: row.cells[place] for row in found.scores.groups[0].rows}
    assert cells["Some"].also == "2 failed, 1 cut, 1 unparsed, 5 missing"
    assert cells["Whole"].also == ""
    for write in (delimited.write, markdown.write, json_document.write):
        assert "2 failed, 1 cut, 1 unparsed, 5 missing" in write([found.scores])


def test_the_score_over_parsed_answers_stands_where_it_changes_a_rank() -> None:
    """A run of which a third is unparsed is behind, and ahead where it has answers; where all have
    the same ranks there is no such column."""
    silent = run("silent", dict.fromkeys(range(180), True))
    predictions = [
        replace(p, answer=None, scores={}) if number % 3 == 0 else p
        for number, p in enumerate(silent.predictions())
    ]
    record, predictions = scored(silent.record, predictions, [ACCURACY])
    silent = RunData(record, lambda: predictions)
    steady = run("steady", {n: n % 10 > 1 for n in range(180)})
    found = section([silent, steady])
    assert found.scores is not None
    keys = [heading.key for heading in found.scores.headings]
    shown = {row.title: row.cells for row in found.scores.groups[0].rows}
    parsed = keys.index("accuracy-parsed")
    assert (shown["Silent"][parsed].text, shown["Silent"][parsed].n) == ("100.00", 120)
    assert (shown["Steady"][parsed].text, shown["Steady"][parsed].n) == ("80.00", 180)
    assert shown["Silent"][keys.index("rank")].text == "2"
    assert shown["Silent"][keys.index("rank-parsed")].text == "1"
    assert "Over parsed answers alone it has rank 2, and Silent is first" in best(found)
    other = section([steady, run("low", dict.fromkeys(range(180), False))])
    assert other.scores is not None
    assert "accuracy-parsed" not in [heading.key for heading in other.scores.headings]


def test_the_samples_list_shows_changed_questions_apart() -> None:
    """Two runs side by side are compared where their pair is: of 100 questions two have another
    text in one run, which has rows of its own for them."""
    one, two = draws(1, 100, 0.9), draws(2, 100, 0.5)
    made = [run("one", one), run("two", two, other=(3, 7))]
    groups: list[Group] = []
    for each in made:
        collect(
            groups,
            each,
            columns_of(
                each.record, each.predictions(), Computed.of(each.record, each.predictions())
            ),
        )
    (group,) = groups
    first, second = (set(each.scores.scores) for each in group.runs)
    assert second - first == {"3~2", "7~2"}
    (tests,) = [each.tests for each in section(made).run_groups]
    assert tests is not None
    assert len(first & second) == tests.pairs[0].n == 98
