"""`harness eval` from end to end on a tiny checkpoint and drawn questions."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.cli.listing import FIRST_RUN
from harness.core.types import Prediction
from harness.run.folder import RunFolder
from harness.run.rescoring import rescore
from tasks import load_task

TIMES = {"seconds": None, "preprocess_seconds": None}


@pytest.fixture
def evaluate(command, tiny, drawn: Path, tmp_path: Path) -> Callable[..., Any]:
    """`harness eval` with a tiny model on the drawn questions; later options win."""

    def run(*more: object, model: object = None, data: object = None) -> Any:
        return command(
            "eval",
            "--model",
            model or tiny("llava"),
            "--task",
            "scienceqa",
            "--data",
            data or drawn,
            "--runs",
            tmp_path / "runs",
            "--max-new-tokens",
            6,
            "--json",
            *more,
        )

    return run


def shortened(number: int, questions: Path) -> Path:
    """The folder, with its first questions alone."""
    path = questions / "test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:number]))
    return questions


def predictions(run: dict[str, Any]) -> list[dict[str, Any]]:
    lines = (Path(run["folder"]) / "predictions.jsonl").read_text().split("\n")[:-1]
    return [{**json.loads(line), **TIMES} for line in lines]


def only(result: Any) -> dict[str, Any]:
    assert result.code == 0, result.stderr
    (run,) = result.json["runs"]
    return run


def test_a_run_says_everything(evaluate) -> None:
    """One document on stdout; a record with n, intervals, chance, timing, versions, fingerprint."""
    result = evaluate("--batch-size", 16)
    run = only(result)
    assert run["status"] == "complete"
    accuracy = run["metrics"]["accuracy"]
    assert accuracy["n"] == 64
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert run["metrics"]["accuracy/geography"]["n"] == 16
    assert run["metrics"]["chance"]["value"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 4 + 1 / 2) / 4)
    assert run["metrics"]["unparsed"]["n"] == 64
    assert run["counts"]["filtered"] == {}
    assert run["model"]["parameters"] > 10_000
    assert run["timing"]["timed_samples"] == 64
    assert run["timing"]["inference_minutes"] > 0
    assert run["timing"]["warmup_seconds"] > 0
    assert run["timing"]["peak_memory_bytes"]["process"] > 1e8
    assert run["environment"]["torch"].startswith("2.")
    assert run["fingerprint"]["weights"].startswith("sha256:")
    assert run["command"][:2] == ["harness", "eval"]
    rows = predictions(run)
    assert [row["sample_id"] for row in rows][:2] == ["geography-00", "geography-01"]
    assert all(row["prompt"].startswith("USER: <image>") for row in rows)
    assert all(row["scores"]["accuracy"] == (row["answer"] == row["target"]) for row in rows)
    right = sum(row["scores"]["accuracy"] for row in rows)
    assert accuracy["value"] == right / 64
    assert RunFolder(Path(run["folder"])).read_predictions()[0].images


def test_no_prompt_holds_the_answer(drawn: Path) -> None:
    """Two samples that differ in their gold only make the same prompt."""
    from dataclasses import replace

    from harness.core.types import DataOptions
    from tasks import load_task

    task = load_task("scienceqa")
    sample = task.load(DataOptions(path=drawn)).samples[0]
    assert isinstance(sample.target, int)
    other = replace(sample, target=(sample.target + 1) % 4, solution="the answer is A", lecture="B")
    one, two = task.prompt(sample, "direct"), task.prompt(other, "direct")
    assert (one.text, one.question, one.choices) == (two.text, two.question, two.choices)


def test_the_same_command_again_does_nothing(evaluate) -> None:
    """A complete run is reported again, without loading the model, and is not timed twice."""
    first = only(evaluate("--limit", 8))
    second = only(evaluate("--limit", 8))
    assert predictions(first) == predictions(second)
    assert second["timing"]["inference_minutes"] == first["timing"]["inference_minutes"]
    assert len(second["sessions"]) == 1
    assert second["model"] == first["model"]


def test_a_limit_is_no_other_run(evaluate, questions: Path) -> None:
    """--limit 10 followed by the full run goes on, and the record states the true n."""
    data = shortened(20, questions)
    part = only(evaluate("--limit", 10, data=data))
    assert part["status"] == "partial"
    assert part["metrics"]["accuracy"]["n"] == 10
    whole = only(evaluate("--batch-size", 7, data=data))
    assert whole["status"] == "complete"
    assert whole["metrics"]["accuracy"]["n"] == 20
    assert len(whole["sessions"]) == 2
    assert predictions(whole) == predictions(only(evaluate("--name", "at-once", data=data)))


def test_a_smaller_limit_reports_the_number_that_it_asks_for(evaluate) -> None:
    """The answers beyond it are kept, rescored too, and found again by a larger one."""
    six = only(evaluate("--limit", 6))
    answered = predictions(six)
    three = only(evaluate("--limit", 3))
    assert three["metrics"]["accuracy"]["n"] == three["counts"]["done"] == 3
    assert three["metrics"]["unparsed"]["n"] == 3
    folder = RunFolder(Path(three["folder"]))
    assert predictions(three) == answered[:3]
    assert [p.sample_id for p in folder.read_all()] == [p["sample_id"] for p in answered]
    folder.rewrite(folder.read_predictions(), beyond=[
        replace(p, answer=None, rule="of another extractor") for p in folder.read_beyond()
    ])  # fmt: skip
    rescore(folder, load_task("scienceqa"), extractor="ours")
    four = only(evaluate("--limit", 4))
    assert predictions(four) == answered[:4]
    again = only(evaluate("--limit", 6))
    assert predictions(again) == answered
    assert again["metrics"] == six["metrics"]
    assert len(again["sessions"]) == len(six["sessions"])
    assert three["settings"]["limit"] == 3
    assert not folder.beyond_path.exists()


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (("--style", "cot"), "style"),
        (("--max-new-tokens", "7"), "decoding"),
        (("--dtype", "bf16"), "dtype"),
        (("--temperature", "0.5"), "decoding"),
        (("--text-only", "include"), "text_only"),
        (("--sample", "stratified"), "sample"),
    ],
)
def test_another_setting_is_refused_by_name(evaluate, more: tuple[str, str], field: str) -> None:
    """What would mix two runs names the field that differs, and touches nothing."""
    before = predictions(only(evaluate("--limit", 4)))
    result = evaluate("--limit", 8, *more)
    assert result.code == 2
    assert field in result.stderr.splitlines()[0]
    assert "--fresh" in result.stderr
    assert predictions(only(evaluate("--limit", 4))) == before


def test_another_batch_size_goes_on(evaluate) -> None:
    """Batch size changes speed, not answers."""
    only(evaluate("--limit", 5, "--batch-size", 2))
    again = only(evaluate("--limit", 12, "--batch-size", 5))
    assert again["metrics"]["accuracy"]["n"] == 12


def test_swapped_weights_are_refused(evaluate, tiny, tmp_path: Path) -> None:
    """Other weights under the same path do not continue the run, nor pass for its result."""
    folder = Path(shutil.copytree(tiny("llava"), tmp_path / "model"))
    only(evaluate("--limit", 4, model=folder))
    shutil.copytree(tiny("llava", seed=1), folder, dirs_exist_ok=True)
    for limit in (4, 8):
        result = evaluate("--limit", limit, model=folder)
        assert result.code == 2
        assert "test: weights." in result.stderr


def test_fresh_moves_the_old_run_aside(evaluate, tmp_path: Path) -> None:
    """Nothing that was computed is deleted."""
    first = only(evaluate("--limit", 4))
    again = only(evaluate("--limit", 4, "--style", "cot", "--fresh"))
    assert again["settings"]["style"] == "cot"
    kept = [p for p in Path(first["folder"]).parent.iterdir() if p.name.startswith("test.")]
    assert len(kept) == 1
    assert len(RunFolder(kept[0]).read_predictions()) == 4


def test_a_changed_picture_is_refused(evaluate, questions: Path) -> None:
    """One other image under the same name is other data."""
    only(evaluate("--limit", 4, data=questions))
    Image.new("RGB", (50, 50), "red").save(questions / "images" / "biology-03.png")
    result = evaluate("--limit", 8, data=questions)
    assert result.code == 2
    assert ": data" in result.stderr


def test_bad_pictures_are_error_rows(evaluate, questions: Path) -> None:
    """A corrupt and a missing image: two rows with their ids and reasons, exit 4, the rest done;
    repaired by hand they are other data."""
    data = shortened(20, questions)
    (questions / "images" / "geography-02.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (questions / "images" / "physics-00.png").unlink()
    result = evaluate("--batch-size", 5, data=data)
    assert result.code == 4
    (run,) = result.json["runs"]
    failed = {row["sample_id"]: row["error"] for row in predictions(run) if row["error"]}
    assert set(failed) == {"geography-02", "physics-00"}
    assert all("images/" in reason for reason in failed.values())
    assert run["counts"]["failed"] == 2
    assert run["metrics"]["accuracy"]["n"] == 18
    assert run["status"] == "partial"
    again = evaluate("--batch-size", 5, data=data)
    assert again.code == 4
    assert predictions(again.json["runs"][0]) == predictions(run)


def test_several_models_in_one_command(evaluate, tiny) -> None:
    """One that is missing does not keep the others from running; the exit code tells of it."""
    result = evaluate("--limit", 3, "--model", "llava-cot", "--model", tiny("moondream"))
    assert result.code == 3
    assert [run["model"]["name"] for run in result.json["runs"]] == ["llava-0", "moondream-0"]
    assert "hf download Xkev/Llama-3.2V-11B-cot" in result.stderr


def test_a_task_of_ones_own(command, tiny, drawn: Path, tmp_path: Path) -> None:
    """--task ./mine.py needs no change in the package."""
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import replace\n"
        "from harness.core.types import Value\n"
        "from tasks.scienceqa import TASK as SCIENCEQA\n"
        "def shortness(predictions):\n"
        "    return {'short': Value(value=0.5, n=len(predictions))}\n"
        "def ask(sample, style):\n"
        "    made = SCIENCEQA.prompt(sample, style)\n"
        "    return replace(made, text=made.text.upper())\n"
        "TASK = replace(SCIENCEQA, name='mine', title='Mine', prompt=ask, metrics=(shortness,))\n"
    )
    result = command(
        "eval", "--model", tiny("llava"), "--task", mine, "--data", drawn, "--limit", 4,
        "--runs", tmp_path / "runs", "--max-new-tokens", 4, "--json",
    )  # fmt: skip
    run = only(result)
    assert list(run["metrics"]) == ["short", "unparsed"]
    assert run["metrics"]["short"] == {
        "value": 0.5, "n": 4, "low": None, "high": None, "note": "", "caveat": ""
    }  # fmt: skip
    assert "WHICH TOWN" in predictions(run)[0]["prompt"]
    mine.write_text(mine.read_text().replace("upper", "lower"))
    again = command(
        "eval", "--model", tiny("llava"), "--task", mine, "--data", drawn, "--limit", 4,
        "--runs", tmp_path / "runs", "--max-new-tokens", 4, "--json",
    )  # fmt: skip
    assert again.code == 2
    assert "prompt" in again.stderr


def test_a_folder_without_runs_names_the_command_that_makes_one(
    command, tmp_path: Path, monkeypatch
) -> None:
    """An empty table would say less: the command that is named can be given as it stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for given in ((), ("--runs", "empty")):
        listed = command("list", "runs", *given)
        assert listed.code == 0
        assert f"There are no runs in {given[-1] if given else 'runs'}." in listed.stdout
        assert FIRST_RUN in " ".join(listed.stdout.split())
    assert command("list", "runs", "--json").json == {"runs": [], "errors": []}
    # tests/test_readme.py runs it.
    assert FIRST_RUN in (Path(__file__).parents[1] / "docs" / "evaluate.md").read_text()


def test_show_list_and_report_read_what_eval_wrote(evaluate, command, tmp_path: Path) -> None:
    """The record is printed again, listed, and is a row on the page."""
    run = only(evaluate("--limit", 6))
    shown = command("show", run["folder"], "--json")
    assert shown.json == run
    table = command("show", run["folder"])
    assert f"{100 * run['metrics']['accuracy']['value']:.2f}" in table.stdout
    assert "partial; n: 6 of 64" in table.stdout
    listed = command("list", "runs", "--runs", tmp_path / "runs", "--json")
    assert listed.json["runs"] == [run]
    page = tmp_path / "page.html"
    report = command("report", "--runs", tmp_path / "runs", "--out", page, "--json")
    size = page.stat().st_size
    assert report.json == {"report": str(page), "runs": 1, "bytes": size, "notes": []}
    html = page.read_text()
    assert "llava-0" in html
    assert "78.82" in html


def test_the_table_is_for_people(command, tiny, drawn: Path, tmp_path: Path) -> None:
    """Without --json stdout has the table by topic, n in words, and where the run is."""
    result = command(
        "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--limit", 20,
        "--sample", "stratified", "--runs", tmp_path / "runs", "--max-new-tokens", 4,
    )  # fmt: skip
    assert result.code == 0
    for words in ("Accuracy", "geography", "Chance", "Unparsed", "partial; n: 20 of 64", "Run: "):
        assert words in result.stdout


def test_an_unknown_processor_argument_is_refused(evaluate) -> None:
    """The library would ignore it silently."""
    result = evaluate("--processor-arg", "num_cropz=4", "--limit", 2)
    assert result.code == 2
    assert "num_cropz" in result.stderr


def test_a_known_processor_argument_counts(evaluate) -> None:
    """It reaches the processor, and is part of the run's identity."""
    run = only(evaluate("--limit", 2, "--processor-arg", "do_rescale=false"))
    assert run["settings"]["processor_args"] == {"do_rescale": False}
    assert evaluate("--limit", 2).code == 2


@pytest.mark.parametrize("broken", ["config", "weights", "tokenizer"])
def test_a_checkpoint_that_cannot_be_loaded_ends_with_exit_3(
    evaluate, tiny, tmp_path: Path, broken: str
) -> None:
    """What is wrong is told without a traceback."""
    folder = Path(shutil.copytree(tiny("llava"), tmp_path / "model"))
    if broken == "config":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    elif broken == "weights":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    else:
        (folder / "tokenizer.json").unlink()
    result = evaluate("--limit", 2, model=folder)
    assert result.code == 3
    assert "Traceback" not in result.stderr
    assert "cannot be loaded" in result.stderr


def test_code_in_a_checkpoint_is_never_run(evaluate, tiny, tmp_path: Path) -> None:
    """An auto_map that names the folder's own Python is ignored."""
    folder = Path(shutil.copytree(tiny("llava"), tmp_path / "model"))
    marker = tmp_path / "it-ran"
    code = f"open({str(marker)!r}, 'w')\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        path = folder / name
        if path.exists():
            data = json.loads(path.read_text())
            data["auto_map"] = {
                "AutoConfig": "evil.Evil",
                "AutoModelForImageTextToText": "evil.Evil",
                "AutoProcessor": "evil.Evil",
                "AutoTokenizer": ["evil.Evil", "evil.Evil"],
            }
            path.write_text(json.dumps(data))
    evaluate("--limit", 2, model=folder)
    assert not marker.exists()
    assert "evil" not in sys.modules


def test_real_questions(evaluate, real_data: Path) -> None:
    """100 real questions: a record with every topic, none failed."""
    run = only(evaluate("--batch-size", 16, data=real_data / "scienceqa-real"))
    assert run["metrics"]["accuracy"]["n"] == 100


def test_predictions_are_predictions(evaluate) -> None:
    """Each line has the fields that the format promises."""
    rows = predictions(only(evaluate("--limit", 2)))
    assert set(rows[0]) == set(Prediction.__dataclass_fields__)


def test_what_did_nothing_leaves_no_trace(evaluate) -> None:
    """A command that finds everything answered does not put its own settings into the record."""
    first = only(evaluate("--limit", 8, "--batch-size", 4))
    again = only(evaluate("--limit", 8, "--batch-size", 2))
    assert again["settings"] == first["settings"]
    assert again["command"] == first["command"]
    assert again["metrics"] == first["metrics"]


def test_sampled_answers_belong_to_a_batch_size(evaluate) -> None:
    """What is drawn depends on the batch, so another size is another run; the same one repeats."""
    sampled = ("--temperature", "0.8", "--seed", "1")
    first = predictions(only(evaluate("--limit", 8, *sampled)))
    refused = evaluate("--limit", 16, "--batch-size", 3, *sampled)
    assert refused.code == 2
    assert "decoding.batch_size: 4 there, 3 now" in refused.stderr
    again = predictions(only(evaluate("--limit", 8, *sampled, "--name", "again")))
    assert [row["raw"] for row in again] == [row["raw"] for row in first]


@pytest.mark.parametrize(
    "idle",
    [
        ("--size", "tiny"),
        ("--options", "text"),
        ("--top-p", "0.5"),
        ("--mode", "loglikelihood", "--temperature", "0.5"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(evaluate, idle: tuple[str, ...]) -> None:
    """Nobody is left to believe that it did something."""
    result = evaluate("--limit", 2, *idle)
    assert result.code == 2
    assert "does nothing without" in result.stderr


def test_the_order_of_the_rows_is_no_other_data(evaluate, questions: Path) -> None:
    """The same questions in another order continue the run."""
    only(evaluate("--limit", 4, data=questions))
    path = questions / "test.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    run = only(evaluate("--limit", 8, data=questions))
    assert run["counts"]["done"] == 8
    assert len(RunFolder(Path(run["folder"])).read_all()) == 12


def test_errors_are_whole_in_json(evaluate) -> None:
    """What is wrong, what is known, what helps, and the exit code."""
    result = evaluate("--limit", 2, model="phi-3.5")
    (error,) = result.json["errors"]
    assert error["code"] == result.code == 3
    assert error["remedy"].splitlines()[0] == "hf download microsoft/Phi-3.5-vision-instruct"
    assert "hub cache" in error["known"]


def test_the_page_says_how_the_question_was_worded(evaluate, command, tmp_path: Path) -> None:
    """Style, examples, what was added, and whose wording it is."""
    run = only(evaluate("--limit", 4, "--style", "cot"))
    assert run["settings"]["instruction"].startswith("Think step by step")
    page = tmp_path / "page.html"
    command("report", "--runs", tmp_path / "runs", "--out", page)
    text = page.read_text()
    assert "style cot" in text
    assert "zero-shot" in text
    assert "wording: ours" in text


def test_options_that_refer_to_others_stay_and_are_counted(
    evaluate, questions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The record, the page and the terminal say how many questions; a run of another version, in
    which they were moved, is not continued."""
    path = questions / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()][:4]
    rows[0]["choices"] = ["x", "y", "both A and B"]
    rows[1]["choices"] = ["x", "y", "all of the above"]
    rows[0]["answer"] = rows[1]["answer"] = 0
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = evaluate("--shuffle-choices", 1, data=questions)
    run = only(result)
    assert "2 of 4 questions have options that refer to others" in caplog.text
    assert run["settings"]["in_place"] == 2
    assert predictions(run)[0]["order"] == [0, 1, 2]
    assert predictions(run)[1]["order"][2] == 2
    folder = RunFolder(Path(run["folder"]))
    record = folder.existing_record()
    folder.write_record(replace(record, fingerprint={**record.fingerprint, "shuffle": 1}))
    again = evaluate("--shuffle-choices", 1, data=questions)
    assert again.code == 2
    assert ": shuffle" in again.json["errors"][0]["what"]


def test_transparent_pictures_are_told_and_belong_to_the_run(
    evaluate, questions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run of an earlier version, which dropped transparency, is not continued."""
    rows = (questions / "test.jsonl").read_text().splitlines()[:4]
    (questions / "test.jsonl").write_text("\n".join(rows) + "\n")
    names = [questions / json.loads(row)["image"] for row in rows]
    for name, ink in zip(names, ("black", "white"), strict=False):
        picture = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
        picture.paste(ink, (10, 10, 40, 20))
        picture.save(name)
    Image.new("RGBA", (60, 60), "red").save(names[2])  # a channel of alpha, and nothing clear
    run = only(evaluate(data=questions))
    assert run["settings"]["transparency"] == {"blended": 2, "flat": 1}
    assert "2 pictures have transparent parts: blended on white." in caplog.text
    assert f"1 of them become one flat colour by it: images/{names[1].name}" in caplog.text
    folder = RunFolder(Path(run["folder"]))
    record = folder.existing_record()
    assert record.fingerprint["transparency"] == "blended on white"
    known = {k: v for k, v in record.fingerprint.items() if k != "transparency"}
    folder.write_record(replace(record, fingerprint=known))
    again = evaluate(data=questions)
    assert again.code == 2
    assert ": transparency" in again.json["errors"][0]["what"]
