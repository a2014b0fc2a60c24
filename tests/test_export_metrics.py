"""Exports of metrics that no format knows: each is written by its description and by the scores that
answers have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from harness.core.types import Metric, Prediction, Reference, Target
from harness.run.records import Counts, RunRecord
from harness.run.scoring import scored
from reports.export.formats import FOLDER_FORMATS, TABLE_FORMATS
from reports.inputs.material import RunData
from reports.page.leaderboard import sections
from tests.test_leaderboard import choice_run

GRADED = Metric("agreement", "Agreement", lambda p: 0.3 * p.references.count(p.text))
DISTANCE = Metric(
    "distance",
    "Distance",
    lambda p: float(abs(len(p.text) - len(p.references[0]))),
    unit="",
    higher_is_better=False,
)
EXACT = Metric("exact", "Exact match", lambda p: float(p.text in p.references), interval="wilson")
WRONG = Metric(
    "wrong", "Wrong", lambda p: float(p.text not in p.references), higher_is_better=False
)
F1 = Metric(
    "f1_yes",
    "F1 of yes",
    lambda p: [p.text == "yes" == p.references[0], p.text == "yes", p.references[0] == "yes"],
    aggregate=lambda right, said, gold: 2 * right / (said + gold),
)
PAIRS = Metric("pairs", "Pairs", EXACT.per_sample, per_group=min, interval="wilson")
METRICS = (GRADED, DISTANCE, EXACT, WRONG, F1, PAIRS)


def answer(number: int, text: str, target: Target, **parts: Any) -> Prediction:
    return Prediction(
        sample_id=str(number),
        raw=text,
        answer=text or None,
        rule="all",
        target=target,
        question="Is it?",
        **parts,
    )


ANSWERS = [
    answer(0, "yes", (Reference("yes"), Reference("yes"), Reference("no")), group="a"),
    answer(1, "no", "no", group="a"),
    answer(2, "yes", (Reference("no", 0.5, "maybe"), Reference("yes")), group="b"),
    answer(3, "", "yes", group="b"),
]


def made(metrics: Sequence[Metric] = METRICS, answers: Sequence[Prediction] = ANSWERS) -> RunData:
    record = RunRecord(
        task=replace(choice_run().task, name="mine", title="Mine"),
        model=choice_run().model,
        fingerprint={},
        counts=Counts(total=len(answers), available=len(answers)),
    )
    record, predictions = scored(record, answers, metrics)
    return RunData(record, lambda: predictions)


def files(form: str, run: RunData) -> dict[str, str]:
    found = FOLDER_FORMATS[form].write([run], None)
    return {file.path: b"".join(file.pieces()).decode() for file in found}


def lines(found: dict[str, str]) -> list[dict[str, Any]]:
    (name,) = (name for name in found if name.endswith(".jsonl"))
    return [json.loads(line) for line in found[name].splitlines()]


def document(found: dict[str, str]) -> dict[str, Any]:
    return json.loads(next(text for name, text in found.items() if name.endswith(".json")))


def test_lm_eval_has_every_metric_with_its_direction() -> None:
    """Each figure by its name; what is worse when it is more is said; a share has its error."""
    results = document(files("lm-eval", made()))
    figures = results["results"]["mine"]
    assert figures["agreement,none"] == pytest.approx((0.6 + 0.3 + 0.3) / 4)
    assert figures["distance,none"] == (1 + 3) / 4
    assert figures["f1_yes,none"] == pytest.approx(0.5)
    assert figures["pairs,none"] == 0.5
    assert figures["agreement_stderr,none"] == pytest.approx(0.12247, abs=1e-5)
    assert not {"f1_yes_stderr,none", "pairs_stderr,none", "acc,none"} & set(figures)
    assert results["higher_is_better"]["mine"] == {
        metric.name: metric.higher_is_better for metric in METRICS
    }


def test_lm_eval_has_the_scores_of_each_answer() -> None:
    """Those of metrics that score answers one by one; their mean is the figure."""
    found = files("lm-eval", made())
    rows, figures = lines(found), document(found)["results"]["mine"]
    for name in ("agreement", "distance", "exact", "wrong"):
        assert sum(row[name] for row in rows) / 4 == pytest.approx(figures[f"{name},none"])
    assert all(row["metrics"] == ["agreement", "distance", "exact", "wrong"] for row in rows)
    assert not any({"f1_yes", "pairs", "unparsed"} & set(row) for row in rows)


def test_lm_eval_writes_all_references(tmp_path: Path) -> None:
    """As a list, in every line of the run, with weight and role where the data have them; and the
    group. The lines have one schema."""
    found = files("lm-eval", made())
    rows = lines(found)
    assert [row["target"] for row in rows] == [["yes", "yes", "no"], ["no"], ["no", "yes"], ["yes"]]
    assert [row["doc"]["answer"] for row in rows] == [row["target"] for row in rows]
    assert rows[2]["doc"]["references"][0] == {"text": "no", "weight": 0.5, "role": "maybe"}
    assert [row["doc"]["group"] for row in rows] == ["a", "a", "b", "b"]
    from datasets import Dataset

    (name,) = (name for name in found if name.endswith(".jsonl"))
    (tmp_path / "samples.jsonl").write_text(found[name])
    loaded = Dataset.from_json(str(tmp_path / "samples.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert loaded["target"][0] == ["yes", "yes", "no"]
    single = lines(files("lm-eval", made(answers=[answer(0, "yes", "no")])))
    assert single[0]["target"] == single[0]["doc"]["answer"] == "no"
    assert not {"group", "references"} & set(single[0]["doc"])


def test_every_eval_ever_has_direction_and_range() -> None:
    """A share lies between 0 and 1; a metric whose bounds nobody says has no place there."""
    results = {
        each["metric_config"]["metric_id"]: each["metric_config"]
        for each in document(files("every-eval-ever", made()))["evaluation_results"]
    }
    assert set(results) == {"agreement", "exact", "wrong", "f1_yes", "pairs"}
    assert results["agreement"]["max_score"] == 1
    assert not results["agreement"]["lower_is_better"]
    assert results["wrong"]["lower_is_better"]
    bounded = made([replace(DISTANCE, bounds=(0.0, 5.0))])
    (config,) = (
        each["metric_config"]
        for each in document(files("every-eval-ever", bounded))["evaluation_results"]
    )
    assert (config["min_score"], config["max_score"], config["metric_unit"]) == (0, 5, "points")
    assert config["lower_is_better"]


def test_every_eval_ever_says_right_only_of_right_or_wrong() -> None:
    """An answer that is right in part has no line, as each must say whether it is right; one line
    for each metric that can say it, with all references."""
    rows = lines(files("every-eval-ever", made()))
    assert [(row["evaluation_result_id"], row["sample_id"]) for row in rows] == [
        (name, str(number)) for name in ("exact", "wrong") for number in range(4)
    ]
    assert [row["evaluation"]["is_correct"] for row in rows] == [True, True, True, False] * 2
    assert [row["evaluation"]["score"] for row in rows] == [1, 1, 1, 0, 0, 0, 0, 1]
    assert rows[0]["input"]["reference"] == ["yes", "yes", "no"]
    assert rows[0]["metadata"]["group"] == "a"
    assert not any(
        name.endswith(".jsonl") for name in files("every-eval-ever", made([GRADED, F1, PAIRS]))
    )


def test_every_eval_ever_reads_metrics_of_a_users_own(tmp_path: Path) -> None:
    """Its own validator accepts every document and every line."""
    validate = pytest.importorskip(
        "every_eval_ever.validate", reason="every_eval_ever is not installed"
    )
    for name, text in files("every-eval-ever", made()).items():
        path = tmp_path / Path(name).name
        path.write_text(text)
        report = validate.validate_file(path)
        assert report.valid, report.errors


def test_the_hubs_files_have_every_metric() -> None:
    """Each has an id of its own; what is worse when it is more is said."""
    found = files("hf", made())
    yaml = pytest.importorskip("yaml")
    entries = yaml.safe_load(found["moondream/.eval_results/mine.yaml"])
    assert [each["dataset"]["task_id"] for each in entries] == [f"mine_{m.name}" for m in METRICS]
    said = {each["dataset"]["task_id"]: each["notes"].split("; ") for each in entries}
    assert [name for name, notes in said.items() if "lower is better" in notes] == [
        "mine_distance",
        "mine_wrong",
    ]
    assert "unparsed 0.25" in said["mine_exact"]
    card = {r.metric_name: r for r in ModelCard(found["moondream/README.md"]).data.eval_results}
    assert card["distance"].metric_args["higher_is_better"] is False
    assert "higher_is_better" not in card["agreement"].metric_args
    (only,) = yaml.safe_load(files("hf", made([GRADED]))["moondream/.eval_results/mine.yaml"])
    assert only["dataset"]["task_id"] == "mine"


def test_tables_have_unit_and_direction_of_every_metric() -> None:
    """A column for each, in percent or as it is; the best is the least where less is better."""
    tables = [table for section in sections([made().record]) for table in section.tables]
    text = {form: TABLE_FORMATS[form].write(tables) for form in TABLE_FORMATS}
    columns = {each["key"]: each for each in json.loads(text["json"])["tables"][0]["columns"]}
    assert {name: columns[name]["unit"] for name in ("agreement", "distance", "f1_yes")} == {
        "agreement": "%",
        "distance": "",
        "f1_yes": "%",
    }
    assert {name: columns[name]["best"] for name in ("agreement", "distance", "wrong")} == {
        "agreement": "descending",
        "distance": "ascending",
        "wrong": "ascending",
    }
    for form in ("markdown", "latex", "csv"):
        for metric in METRICS:
            assert metric.title in text[form], (form, metric.title)
