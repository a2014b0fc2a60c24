"""`harness distill` at the command line: whole, by stages, stopped, and asked for nonsense."""

from __future__ import annotations

import json
import shutil
import signal
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from distill.quality import sight
from harness.core.files.jsonl import read_objects
from harness.core.structured import Rationale, render
from tests import commands
from tests.drawn import draw_questions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn questions: 64 to train on, 64 others to test on."""
    folder = tmp_path_factory.mktemp("data")
    draw_questions(folder, seed=1)
    for picture in (folder / "images").iterdir():
        picture.rename(picture.with_name(f"train-{picture.name}"))
    lines = (folder / "test.jsonl").read_text().replace('"images/', '"images/train-')
    (folder / "train.jsonl").write_text(lines)
    draw_questions(folder)
    return folder


@pytest.fixture
def arguments(
    tiny: Callable[..., Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The options of a distillation that takes seconds."""
    monkeypatch.setattr(sight, "MOST", 8)
    return {
        "--data": data,
        "--limit": 12,
        "--teacher-weights": tiny("llava-cot"),
        "--teacher-tokens": 12,
        "--base-weights": tiny("moondream"),
        "--batch-size": 4,
        "--precision": "float32",
        "--max-new-tokens": 6,
        "--test-limit": 6,
        "--runs": tmp_path / "runs",
        "--out": tmp_path / "page.html",
    }


def options(arguments: Mapping[str, Any], *names: str) -> list[str]:
    chosen = {k: v for k, v in arguments.items() if not names or k in names}
    return [str(part) for pair in chosen.items() for part in pair]


OF_RATIONALES = ("--data", "--limit", "--teacher-weights", "--teacher-tokens", "--runs")
OF_TRAINING = ("--base-weights", "--batch-size", "--precision", "--runs")


def timeless(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without what differs from run to run."""
    hidden = {"seconds": None, "preprocess_seconds": None, "memory": None}
    return [{**row, **hidden} for row in read_objects(path)]


def test_one_command(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """Rationales, quality, two students, three runs and a page; then nothing is left to do."""
    more = ["--control", "--control-set", "epochs=2", "--image-dependence", "--json"]
    result = command("distill", *options(arguments), *more)
    assert result.code == 0, result.stderr
    found = result.json
    assert found["rationales"]["counts"]["selected"] == 12
    assert found["rationales"]["counts"]["kept"] > 0
    assert found["overlap"] == 0
    assert found["preset"] == "paper"
    assert [run["model"]["name"] for run in found["runs"]] == [
        "moondream-kd",
        "moondream-kd-answer-only",
        "moondream",
    ]
    assert found["runs"][0]["model"]["title"] == "Moondream-kd"
    assert found["runs"][1]["model"]["title"] == "moondream-kd-answer-only"
    assert all(run["counts"]["done"] == 6 for run in found["runs"])
    assert all(run["configuration"]["test-limit"] == 6 for run in found["runs"])
    assert "moondream-kd-answer-only" in (tmp_path / "page.html").read_text()
    folder = tmp_path / "runs" / "distill" / "moondream-kd"
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["teacher"]["all"]["n"] == 12
    assert set(quality["students"]) == {run["model"]["name"] for run in found["runs"]}
    kept = found["rationales"]["counts"]["kept"]
    assert quality["dependence"]["all"]["image_helps"]["n"] == kept
    card = (folder / "student" / "README.md").read_text()
    assert "| moondream-kd (this model) | 6 |" in card
    assert len(read_objects(folder / "training_log.jsonl")) == -(-kept // 4)
    control = folder.with_name("moondream-kd-answer-only")
    assert len(read_objects(control / "training_log.jsonl")) == 2 * -(-kept // 4)

    files = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    lines = (folder / "attempts.jsonl").read_bytes()
    again = command("distill", *options(arguments), *more)
    assert again.code == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")} == files
    assert (folder / "attempts.jsonl").read_bytes() == lines
    assert [len(run["sessions"]) for run in again.json["runs"]] == [1, 1, 1]
    assert not list((tmp_path / "runs" / "scienceqa").glob("*/test.*"))


def test_by_stages(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """The stages one by one: training needs only the folder; the whole then finds them done."""
    made = command("distill", "rationales", *options(arguments, *OF_RATIONALES), "--json")
    assert made.code == 0, made.stderr
    assert made.json["status"] == "complete"
    assert made.json["quality"]["all"]["n"] == 12
    trained = command("distill", "train", *options(arguments, *OF_TRAINING), "--json")
    assert trained.code == 0, trained.stderr
    student = Path(trained.json["student"])
    assert trained.json["status"] == "complete"
    before = {p: p.stat().st_mtime_ns for p in student.iterdir() if p.suffix == ".safetensors"}
    whole = command("distill", *options(arguments), "--no-baseline", "--json")
    assert whole.code == 0, whole.stderr
    assert [run["model"]["name"] for run in whole.json["runs"]] == ["moondream-kd"]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    measured = command(
        "distill", "quality", "--runs", tmp_path / "runs", "--run", whole.json["runs"][0]["folder"],
        "--json",
    )  # fmt: skip
    assert measured.json["students"]["moondream-kd"]["all"]["n"] == 6
    analysed = command("distill", "analyse", whole.json["runs"][0]["folder"], "--json")
    assert analysed.json["answers"] == 6
    assert analysed.json["structure"]["all_tags"]["n"] == 6


def test_a_student_of_another_base_with_a_lost_picture(
    command, arguments: dict[str, Any], tmp_path: Path
) -> None:
    """It has the base's name, and learns the rationales that are there; a question whose picture is
    gone is left out, and said. Where most pictures are gone nothing is trained."""
    data = tmp_path / "own"
    shutil.copytree(arguments["--data"], data)
    rows = [json.loads(line) for line in (data / "train.jsonl").open()][:12]
    theirs = tmp_path / "theirs.jsonl"
    text = render(Rationale("s", "c", "r", "A"))
    theirs.write_text(
        "".join(json.dumps({"id": row["id"], "rationale": text}) + "\n" for row in rows)
    )
    shared = ("--data", data, "--runs", tmp_path / "runs")
    assert command("distill", "rationales", "--import", theirs, "--limit", 12, *shared).code == 0
    base = arguments["--base-weights"]
    (data / rows[3]["image"]).unlink()
    training = ("distill", "train", "--base", base, "--batch-size", 12, "--precision", "float32")
    trained = command(*training, "--runs", tmp_path / "runs")
    assert trained.code == 0, trained.stderr
    student = tmp_path / "runs" / "distill" / f"{base.name}-kd"
    first, left_out, *_ = trained.stdout.splitlines()
    assert first == f"Student: {student / 'student'}"
    assert left_out == "Left out: 1 of 12 questions (its picture cannot be used)."
    counts = json.loads((student / "distill.json").read_text())["counts"]
    assert list(counts["left_out_ids"]) == [rows[3]["id"]]
    for row in rows[:7]:
        (data / row["image"]).unlink(missing_ok=True)
    refused = command(*training, "--runs", tmp_path / "runs", "--fresh")
    assert refused.code == 3
    assert "7 of 12 questions have a picture that cannot be used" in refused.stderr


@pytest.mark.slow
def test_a_student_that_was_trained_anew_is_evaluated_anew(
    command, arguments: dict[str, Any], tmp_path: Path
) -> None:
    """Another setting is refused by name; --fresh keeps the old student and its run aside."""
    only = [*options(arguments), "--no-baseline", "--json"]
    assert command("distill", *only).code == 0
    training = [*options(arguments, *OF_TRAINING), "--learning-rate", "0.01"]
    refused = command("distill", "train", *training)
    assert refused.code == 2
    assert "learning_rate" in refused.stderr
    assert command("distill", "train", *training, "--fresh").code == 0
    again = command("distill", *only, "--learning-rate", "0.01")
    assert again.code == 0, again.stderr
    runs = tmp_path / "runs" / "scienceqa" / "moondream-kd"
    assert len(list(runs.glob("test.*"))) == 1


def test_what_cannot_be_trained_is_told_before_the_night(
    command, arguments: dict[str, Any], tiny, tmp_path: Path
) -> None:
    """Before the teacher is asked for anything, and in a dry run too where the base is wrong."""
    other = {**arguments, "--base": tiny("vilt")}
    del other["--base-weights"]
    eight = {**arguments, "--set": "optimizer=adam8bit", "--device": "cpu"}
    for given, code, message in (
        ([*options(other)], 3, "ViLT, which cannot be trained as a student"),
        ([*options(other), "--dry-run"], 3, "ViLT, which cannot be trained as a student"),
        ([*options(eight)], 2, "8-bit Adam needs"),
    ):
        result = command("distill", *given)
        assert (result.code, message in result.stderr) == (code, True), result.stderr
    assert not (tmp_path / "runs" / "distill").exists()


def test_answers_alone_need_no_teacher(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """--target answer trains on the questions themselves."""
    chosen = options(arguments, "--data", "--limit", *OF_TRAINING)
    result = command("distill", "train", *chosen, "--target", "answer", "--json")
    assert result.code == 0, result.stderr
    assert result.json["counts"]["used"] == 12
    assert not (tmp_path / "runs" / "distill" / "moondream-kd" / "attempts.jsonl").exists()


def test_rationales_of_others(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """--import needs no teacher; what was imported can be exported again."""
    rows = [json.loads(line) for line in (arguments["--data"] / "train.jsonl").open()]
    theirs = tmp_path / "theirs.jsonl"
    texts = [
        {"id": r["id"], "rationale": render(Rationale("s", "c", r["solution"], "A"))} for r in rows
    ]
    theirs.write_text("".join(json.dumps(text) + "\n" for text in texts))
    made = command(
        "distill", "rationales", "--import", theirs, "--filter", "format",
        *options(arguments, "--data", "--limit", "--runs"), "--json",
    )  # fmt: skip
    assert made.code == 0, made.stderr
    assert made.json["counts"]["kept"] == 12
    assert made.json["quality"]["all"]["measures"]["rouge_l"]["value"] == pytest.approx(1)
    out = tmp_path / "exported"
    exported = command("distill", "export", "--out", out, "--runs", tmp_path / "runs", "--json")
    assert exported.json == {"folder": str(out), "rationales": 12}

    from datasets import load_dataset, load_from_disk

    table = load_dataset("parquet", data_files=str(out / "data" / "train.parquet"),
                         cache_dir=str(tmp_path / "cache"))["train"]  # fmt: skip
    saved = load_from_disk(str(out / "saved"))
    for read in (table, saved):
        assert read.num_rows == 12
        first = read[0]
        assert first["id"] == rows[0]["id"]
        assert first["rationale"].endswith(f"<CONCLUSION> {first['answer']} </CONCLUSION>")
        assert first["images"][0].size == (320, 200)
    card = (out / "README.md").read_text()
    assert "CC BY-NC-SA 4.0" in card
    assert "12 rationales" in card
    assert "| The teacher saw | not known |" in card
    again = command("distill", "export", "--out", out, "--runs", tmp_path / "runs")
    assert again.code == 2
    trip = command(
        "distill", "rationales", "--import", tmp_path / "trip.jsonl", "--name", "trip",
        *options(arguments, "--data", "--limit", "--runs"),
    )  # fmt: skip
    assert trip.code == 3


def test_a_dry_run_changes_nothing(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """Samples, steps, memory and time; no folder is made."""
    result = command("distill", *options(arguments), "--dry-run", "--json")
    assert result.code == 0, result.stderr
    assert list(result.json["prompts"].values()) == [result.json["prompt"]]
    assert result.json["samples"] == 12
    assert result.json["steps"] == 3
    assert result.json["memory_total"] > 0
    assert result.json["seconds"] > 0
    assert result.json["rationales"] == {"rationales": 0, "remaining": 12, "seconds": None}
    words = command("distill", *options(arguments), "--dry-run").stdout
    for part in ("Questions   12 of 64", "3 steps of 4", "some 200 words", "Memory", "Time"):
        assert part in words
    assert "answer-only" not in words
    control = ("--control", "--control-set", "epochs=3", "--dry-run")
    told = command("distill", *options(arguments), *control)
    assert "for moondream-kd-answer-only, 9 steps" in told.stdout
    told = command("distill", *options(arguments), *control, "--json")
    (found,) = told.json["controls"].values()
    assert 0 < found["target_tokens"] < result.json["target_tokens"]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_is_a_configuration(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """TOML that --config reads back to the same; options on the command line win. With the prompt
    that the teacher would get, its input included."""
    given = [*options(arguments), "--control", "--control-set", "epochs=3", "--set", "clip=1.0"]
    shown = command("distill", *given, "--dry-run").stdout
    file = tmp_path / "experiment.toml"
    file.write_text(shown)
    assert tomllib.loads(shown)["control-set"] == ["epochs=3"]
    again = command("distill", "--config", file, "--dry-run")
    assert again.code == 0, again.stderr
    assert tomllib.loads(again.stdout) == tomllib.loads(shown)
    found = command("distill", "--config", file, "--limit", 8, "--dry-run", "--json").json
    assert found["configuration"]["limit"] == found["rationales"]["remaining"] == 8
    assert found["config"]["clip"] == 1.0
    assert "The correct answer is" in found["prompt"]
    assert not found["missing"]


def test_a_dry_run_names_a_teacher_that_is_missing(command, arguments: dict[str, Any]) -> None:
    """With what fetches it and the exit code of what is missing; the training is estimated all the
    same."""
    fixed = options(arguments, "--data", "--limit", "--base-weights", "--runs")
    result = command("distill", *fixed, "--dry-run", "--json")
    assert result.code == 3
    found = result.json
    (missing,) = found["missing"]
    assert missing["what"] == "The weights of Xkev/Llama-3.2V-11B-cot are not here."
    assert "hf download" in missing["remedy"]
    assert found["prompt"] is None
    assert found["steps"] > 0


def test_a_dry_run_of_a_training_needs_rationales_and_no_teacher(
    command, arguments: dict[str, Any]
) -> None:
    """The teacher that is missing is not asked; what is in the way is that nothing is there yet."""
    fixed = options(arguments, "--data", "--limit", "--base-weights", "--runs")
    result = command("distill", "train", *fixed, "--dry-run", "--json")
    assert result.code == 3
    (missing,) = result.json["missing"]
    assert missing["what"].endswith("has no rationales.")
    assert result.json["prompts"] == {}
    words = command("distill", "train", *fixed, "--dry-run").stdout
    assert "questions to ask" not in words
    assert "# Missing: " in words


def test_a_dry_run_shows_the_prompt_of_every_teacher(
    command, arguments: dict[str, Any], tiny
) -> None:
    """Each as its own template words it; one that is missing does not hide the other's."""
    given = {**arguments, "--teacher": f"{tiny('llava-cot')},{tiny('llava-next')}"}
    del given["--teacher-weights"]
    result = command("distill", *options(given), "--dry-run", "--json")
    assert result.code == 0, result.stderr
    one, two = result.json["prompts"].values()
    assert "[INST]" not in one
    assert "[INST]" in two
    words = command("distill", *options(given), "--dry-run").stdout
    assert words.count("# The first prompt of ") == 2
    given["--teacher"] = f"{tiny('llava-cot')},nobody/absent"
    result = command("distill", *options(given), "--dry-run", "--json")
    assert result.code == 3
    assert list(result.json["prompts"].values()) == [one]


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ([], {"learning_rate": 1.4e-5, "batch_size": 16, "samples": 2000}),
        (["--preset", "code"], {"learning_rate": 1e-5, "batch_size": 8, "cosine": "cut"}),
        (["--preset", "code", "--batch-size", "4", "--limit", "0"],
         {"learning_rate": 1e-5, "batch_size": 4, "samples": None}),
        (["--train-parts", "layers, projector", "--without", "summary,caption",
          "--stage-weight", "conclusion=4", "--set", "clip=1.0", "--set", "optimizer=adamw",
          "--teacher-input", "question,answer"],
         {"train": ["layers", "projector"], "without": ["summary", "caption"],
          "conclusion_weight": 4, "clip": 1.0, "optimizer": "adamw",
          "teacher_input": ["question", "answer"]}),
        (["--target", "answer", "--precision", "float32", "--accumulation", "2",
          "--lora-rank", "8", "--lora-targets", "q_proj,v_proj", "--epochs", "2", "--seed", "3"],
         {"objective": "answer", "precision": "float32", "accumulation": 2,
          "lora_rank": 8, "lora_targets": ["q_proj", "v_proj"], "epochs": 2, "seed": 3}),
    ],
)  # fmt: skip
def test_options_change_the_config(
    command, arguments: dict[str, Any], given: list[str], config: dict[str, Any]
) -> None:
    """Each option is the field it names, over the preset."""
    fixed = options(arguments, "--data", "--base-weights", "--runs")
    result = command("distill", *fixed, "--dry-run", "--json", *given)
    assert {name: result.json["config"][name] for name in config} == config


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        (["--learning-rate", "-1"], 2, "learning_rate"),
        (["--train-parts", "nose"], 2, "train"),
        (["--set", "colour=red"], 2, "colour"),
        (["--set", "clip"], 2, "NAME=VALUE"),
        (["--stage-weight", "title=2"], 2, "title_weight"),
        (["--epochs", "2", "--set", "epochs=3"], 2, "--set epochs=3: it is 2 already"),
        (["--teacher-input", ""], 2, "--teacher-input"),
        (["rationales", "--teacher", "nobody"], 2, "nobody"),
        (["--base", "nobody"], 2, "nobody"),
        (["--split", "validation"], 3, "validation"),
        (["--teacher-input", "gold"], 2, "gold"),
        (["--limit", "4", "rationales"], 2, "stands before"),
        (["train", "--name", "other"], 3, "harness distill rationales"),
        (["train", "--import", "x.csv"], 2, "No such option"),
        (["rationales", "--import", "x.csv", "--attempts", "2"], 2, "--attempts does nothing"),
        (["--import", "x.csv", "--teacher", "phi-3.5"], 2, "--teacher does nothing without"),
        (["quality", "--name", "other"], 3, "no rationales"),
    ],
)
def test_nonsense_is_told_apart(
    command, arguments: dict[str, Any], given: list[str], code: int, named: str
) -> None:
    """One sentence that names the option, and no traceback."""
    where = options(arguments, "--data", "--runs")
    first = given[0] in {"rationales", "train", "quality"}
    behind = given[-1] == "rationales"
    rest = given if behind else [*given, *where] if first else [*where, *given]
    result = command("distill", *rest)
    assert result.code == code
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def stop_after(
    arguments: Mapping[str, Any], folder: Path, number: int, signum: signal.Signals
) -> tuple[int, str]:
    """Send `signum` once the teacher has written `number` texts; returns exit code and stderr."""
    process = commands.start("distill", "rationales", *options(arguments))
    path = folder / "attempts.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= number:
            break
        time.sleep(0.002)
    process.send_signal(signum)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.process
@pytest.mark.slow
def test_stopped_while_it_asks(command, arguments: dict[str, Any], tmp_path: Path) -> None:
    """Killed, then interrupted: nothing lost, nothing double, as if it had not happened."""
    asked = {name: arguments[name] for name in OF_RATIONALES}
    asked |= {"--limit": 24, "--teacher-tokens": 40, "--teacher-batch-size": 2}
    folder = tmp_path / "runs" / "distill" / "moondream-kd"
    code, _ = stop_after(asked, folder, 3, signal.SIGKILL)
    assert code == -signal.SIGKILL
    killed = read_objects(folder / "attempts.jsonl")
    code, err = stop_after(asked, folder, len(killed) + 3, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    assert "run the same command again to resume" in err
    assert json.loads((folder / "rationales.json").read_text())["status"] == "interrupted"
    interrupted = read_objects(folder / "attempts.jsonl")
    assert all(row in interrupted for row in killed)
    assert len(killed) < len(interrupted) < 24
    assert command("distill", "rationales", *options(asked)).code == 0
    assert command("distill", "rationales", *options(asked), "--name", "whole").code == 0
    again = read_objects(folder / "attempts.jsonl")
    assert all(row in again for row in interrupted)
    for name in ("attempts.jsonl", "rationales.jsonl", "rejected.jsonl"):
        assert timeless(folder / name) == timeless(folder.with_name("whole") / name)
    assert len({row["id"] for row in read_objects(folder / "attempts.jsonl")}) == 24


def test_complete_rationales_outlive_their_teacher(
    command, arguments: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Written on one machine, trained on another: the teacher's weights need not be there."""
    teacher = Path(shutil.copytree(arguments["--teacher-weights"], tmp_path / "teacher"))
    arguments["--teacher-weights"] = teacher
    asked = options(arguments, *OF_RATIONALES)
    assert command("distill", "rationales", *asked).code == 0
    shutil.rmtree(teacher)
    again = command("distill", "rationales", *asked, "--json")
    assert again.code == 0, again.stderr
    assert "used as they are" in caplog.text
    assert again.json["counts"]["kept"] == 12
    more = options({**arguments, "--limit": 14}, *OF_RATIONALES)
    assert command("distill", "rationales", *more).code == 3


@pytest.mark.slow
def test_real_questions(
    command, arguments: dict[str, Any], real_data: Path, tmp_path: Path
) -> None:
    """The whole pipeline on real questions: 24 to train on, 16 to test on."""
    source = real_data / "scienceqa-real"
    folder = tmp_path / "real"
    folder.mkdir()
    lines = (source / "test.jsonl").read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row.pop("split", None)
    for name, part in (("train", rows[:24]), ("test", rows[24:40])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text)
    shutil.copytree(source / "images", folder / "images")
    settings = {**arguments, "--data": folder, "--limit": 24, "--test-limit": 16}
    result = command("distill", *options(settings), "--test-batch-size", "16", "--json")
    assert result.code == 0, result.stderr
    assert result.json["rationales"]["counts"]["selected"] == 24
    assert [run["counts"]["done"] for run in result.json["runs"]] == [16, 16]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--control-set", "epochs=2"], "there is no control to set"),
        (["--control", "--target", "answer"], "the student itself learns the answers alone"),
        (["--control", "--control-set", "epochs=many"], "epochs cannot be 'many'"),
        (["--control", "--control-set", "speed=2"], "no setting 'speed'"),
    ],
)
def test_a_control_that_cannot_be(
    command, arguments: dict[str, Any], more: list[str], words: str
) -> None:
    """It is refused before anything is asked or trained."""
    result = command("distill", *options(arguments), *more)
    assert result.code == 2
    assert words in result.stderr
