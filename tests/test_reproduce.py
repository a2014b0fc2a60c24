"""docs/reproduce.md: its commands are run without weights, its figures are the package's own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.config import DistillConfig, preset
from harness.checkpoints.catalog import CATALOG
from harness.core.errors import DataError, Exit
from harness.core.files.jsonl import read_objects
from reports.inputs import paper
from tests.published import rebuild

DOCUMENT = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text(encoding="utf-8")
TOLD = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = [line for line in TOLD if line.startswith("harness ")]
DOWNLOADS = [line for line in TOLD if line.startswith("hf download ")]
OWN = "./my-checkpoint"
PUBLISHED = [row.name for row in CATALOG if row.repo]


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the table that has `heading` in its first line, by their first cell."""
    lines = iter(DOCUMENT.splitlines())
    next(line for line in lines if line.startswith("|") and heading in line)
    next(lines)
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows.update(dict.fromkeys(re.findall(r"`([^`]+)`", first) or [first], cells))
    return rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, and a hub cache with nothing in it."""
    from datasets import config
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def score(command, drawn: Path, model: str) -> None:
    """Leave a run of `model` behind, of a single answer that was made elsewhere."""
    question = json.loads((drawn / "test.jsonl").read_text().splitlines()[0])
    answer = {"id": question["id"], "raw": "B", "choices": question["choices"], "target": 1}
    Path("answers.jsonl").write_text(json.dumps(answer))
    assert command("score", "answers.jsonl", "--task", "scienceqa", "--model", model).code == 0


@pytest.mark.slow
def test_every_command_without_weights(
    command, tiny: Callable[..., Path], drawn: Path, folder: Path
) -> None:
    """In the document's order: it is done, or what is missing is named with how to get it."""
    for model in ("moondream", "moondream-kd"):  # what the evaluation would have left behind
        score(command, drawn, model)
    (folder / OWN).symlink_to(tiny("llava"))
    shutil.copytree(tiny("llava-cot"), folder / "my-llava-cot")
    done = set()
    for line in COMMANDS:
        result = command(*shlex.split(line)[1:])
        assert result.code in {Exit.OK, Exit.MISSING}, (line, result.stderr)
        if result.code == Exit.OK:
            done.add(line.split()[1])
        else:
            assert re.search("hf download|harness distill", result.stderr), (line, result.stderr)
    assert done == {"check", "report", "compare", "distill", "rescore", "export"}
    assert (folder / "reports" / "leaderboard.html").exists()
    assert (folder / "tables.tex").exists()


def test_all_rows_are_run() -> None:
    """Every published row is checked and evaluated on both tasks; the distilled one on both too."""
    checked = [line.split()[2] for line in COMMANDS if line.startswith("harness check")]
    assert [model for model in checked if model != OWN] == PUBLISHED
    asked = {
        (model, re.findall(r"--task (\S+)", line)[0])
        for line in COMMANDS
        for model in re.findall(r"--model (\S+)", line)
        if line.startswith("harness eval") and model != OWN
    }
    assert asked == {(row.name, task) for row in CATALOG for task in ("scienceqa", "vqaonline")}


def test_downloads_are_those_that_the_program_names(
    command, tiny: Callable[..., Path], folder: Path
) -> None:
    """Weights, both data sets and BERTScore's encoder: each line is one that harness prints."""
    from harness.metrics.bertscore import bertscore

    printed = []
    for row in PUBLISHED:
        printed += re.findall(r"^ *(hf download .*)$", command("check", row).stderr, re.MULTILINE)
    for data in (("--task", "scienceqa"), ("--task", "vqaonline", "--split", "train")):
        told = command("eval", "--model", tiny("moondream"), *data)
        assert told.code == Exit.MISSING
        printed += re.findall(r"`(hf download [^`]+)`", told.stderr)
    with pytest.raises(DataError) as caught:
        bertscore(["a"], ["b"])
    printed.append(str(caught.value.remedy))
    assert sorted(printed) == sorted(DOWNLOADS)


def test_scores_and_minutes_are_the_papers() -> None:
    """The table of the paper's figures, cell by cell; totals are sums of what stands above."""
    shown = table("Table 1: accuracy")
    first, second = paper.load().tables
    total = [0.0, 0.0]
    for row in first.rows:
        cells = [row.cells["accuracy"], f"{paper.minutes(row.cells['inference_minutes']):.0f}"]
        assert shown[row.name][:2] == cells
        total[0] += float(cells[1])
        other = second.row(row.name)
        names = ("bleu", "rouge1", "rouge2", "bertscore_f1")
        cells = [other.cells[name] if other else "—" for name in names]
        spent = f"{paper.minutes(other.cells['inference_minutes']):.0f}" if other else "—"
        assert shown[row.name][4:] == [*cells, spent]
        total[1] += float(spent) if other else 0
    assert [shown["all"][1], shown["all"][-1]] == [f"{minutes:,.0f}" for minutes in total]
    assert f"{first.n:,} with a picture" in DOCUMENT
    assert f"chance ({first.chance}%)" in DOCUMENT


def test_what_cannot_be_right_is_named() -> None:
    """Every cell of the paper that the rules find impossible, and none besides."""
    (said,) = re.findall(r"\*\*Cannot be right:\*\*(.*?)\n- ", DOCUMENT, flags=re.DOTALL)
    impossible = {
        row.cells[metric]
        for each in paper.load().tables
        for row in each.rows
        for finding in each.findings(row)
        if finding.kind == "impossible"
        for metric in finding.metrics
    }
    assert set(re.findall(r"\d+\.\d+", said)) == impossible


def test_memory_follows_from_the_published_shapes(tiny: Callable[..., Path]) -> None:
    """Weights are parameters times two bytes; a token's keys and values are those of the layers."""
    from transformers import AutoTokenizer, Kosmos2Config

    from harness.families import llava_next
    from harness.families.mllama import tiny as mllama
    from harness.families.phi3v.classes import Phi3VConfig
    from harness.models import MoondreamConfig

    def words(row: str) -> Any:
        return AutoTokenizer.from_pretrained(tiny(row))

    teacher = mllama.mllama_config(words("llava-cot"), "full")
    own_layers = teacher.text_config.num_hidden_layers - len(
        teacher.text_config.cross_attention_layers
    )
    next_text = llava_next.llava_next_config(words("llava-next"), "full").text_config
    phi, moondream = Phi3VConfig(), MoondreamConfig().text_config
    kosmos = Kosmos2Config().text_config
    token = {
        "llava-cot": own_layers * _layer(teacher.text_config),
        "llava-next": next_text.num_hidden_layers * _layer(next_text),
        "phi-3.5": phi.num_hidden_layers * _layer(phi),
        "moondream": moondream.num_hidden_layers * _layer(moondream),
        "kosmos-2": kosmos.layers * 2 * 2 * kosmos.embed_dim,
    }
    vision = teacher.vision_config
    tiles = vision.max_num_tiles * ((vision.image_size // vision.patch_size) ** 2 + 1)
    seen = (teacher.text_config.num_hidden_layers - own_layers) * _layer(teacher.text_config)
    for name, cells in table("bytes a token").items():
        parameters, weights, each, tokens, row, in_all = cells
        assert float(weights) == pytest.approx(float(parameters.split()[0]) * 2, abs=0.06)
        if name == "vilt":
            continue
        size = token[name.removesuffix("-kd")]
        assert each == f"{size:,}"
        held = int(tokens.split()[0].strip(",").replace(",", "")) * size
        held += tiles * seen if name == "llava-cot" else 0
        assert row == f"{held / 1e9:.2f}"
        assert float(in_all) == pytest.approx(float(weights) + 16 * held / 1e9, abs=0.06)


def _layer(text: Any) -> int:
    """Bytes of a token's keys and values in one layer, in bfloat16."""
    width = text.hidden_size // text.num_attention_heads
    return 2 * 2 * int(text.num_key_value_heads) * int(width)


def test_disk_of_the_weights_is_the_catalogues() -> None:
    """The sum over the rows that are downloaded."""
    shown = table("| GB |")["weights of the six published rows"][0]
    assert float(shown) == pytest.approx(sum(row.gigabytes for row in CATALOG))


@pytest.fixture(scope="module")
def published_shape(
    tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Moondream as published, with a small model's words, and zeros for weights."""
    folder = tmp_path_factory.mktemp("shape") / "moondream"
    yield rebuild("moondream", folder, tiny("moondream"))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["paper", pytest.param("code", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_what_training_takes_is_what_the_dry_run_computes(
    command, tiny, *, name: str, published_shape: Path, drawn: Path, folder: Path
) -> None:
    """Weights, gradients and moments, disk, and steps, at the published size."""
    told = command(
        "distill", "--dry-run", "--json", "--preset", name, "--data", drawn, "--split", "test",
        "--base-weights", published_shape, "--teacher-weights", tiny("llava-cot"), "--device", "cpu",
    )  # fmt: skip
    missing = ["8-bit Adam needs the package bitsandbytes"] if name == "code" else []
    assert [each["what"].partition(",")[0] for each in told.json["missing"]] == missing
    found = told.json
    state, activations, in_all, parted = table("optimizer state and weights")[name]
    held = sum(found["memory"][k] for k in ("weights", "gradients", "optimizer", "autocast"))
    assert state == f"{held / 1e9:.1f}"
    assert float(in_all) == pytest.approx(float(state) + float(activations), abs=0.11)
    config = preset(name)
    text, tokens, learned = found["formulas"], config.batch_size * 1100, config.batch_size * 300
    bytes_ = {"paper": 38, "code": 30}[name]
    assert f"{bytes_} " in text["activations"]
    computed = 24 * 2048 * tokens * bytes_ + 12 * learned * 51200
    assert activations == f"{computed / 1e9:.1f}"
    assert parted == f"{(held + computed / 4) / 1e9:.1f}"
    each = found["disk"]["checkpoints"] / 3 / 1e9
    assert f"three checkpoints of {each:.1f}" in DOCUMENT
    disk = 3 * each + 2000 * 729 * 2048 * 2 / 1e9 + found["disk"]["student"] / 1e9
    row = {"paper": "distillation, `paper`", "code": "the same with `code`"}[name]
    (shown,) = re.findall(rf"^\| {re.escape(row)} \| ([\d.]+) \|", DOCUMENT, re.MULTILINE)
    assert float(shown) == pytest.approx(disk, abs=0.11)
    steps = -(-2000 // config.batch_size) * config.epochs
    assert f"{steps} steps" in DOCUMENT


def test_settings_are_the_presets() -> None:
    """A setting in the list of what the code does otherwise is the code's; any other the default's,
    and all that differ between the two are listed."""
    first, last = (DOCUMENT.index(words) for words in ("The first is what", "The second shows"))
    otherwise = _settings(DOCUMENT[first:last])
    code, default = preset("code").to_json(), DistillConfig().to_json()
    assert otherwise == {k: v for k, v in code.items() if v != default[k]}
    others = _settings(DOCUMENT[last:])
    assert len(others) > 5
    assert others == {k: default[k] for k in others}


def _settings(text: str) -> dict[str, Any]:
    """The settings that stand in backticks, as `--set` takes them."""
    found: dict[str, Any] = {}
    for name, value in re.findall(r"`([a-z_0-9]+)=([^`]+)`", text):
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@pytest.mark.slow
def test_a_copy_of_the_rationales_asks_no_teacher(
    command, tiny: Callable[..., Path], drawn: Path, folder: Path
) -> None:
    """Section 4 in small: the copied folder is trained from as it is under another name, and the
    student that was evaluated by `harness distill` is not evaluated again by `harness eval`."""
    shutil.copytree(drawn, "data")
    shutil.copy("data/test.jsonl", "data/train.jsonl")
    asked = (
        *("--data", "data", "--limit", 4, "--teacher-weights", tiny("llava-cot")),
        *("--teacher-tokens", 8),
    )
    training = (
        *("--base-weights", tiny("moondream"), "--precision", "float32", "--batch-size", 4),
        *("--test-limit", 2, "--no-baseline"),
    )
    told = command("distill", "rationales", *asked, "--teacher-batch-size", 2)
    assert told.code == 0, told.stderr
    runs = folder / "runs" / "distill"
    shutil.copytree(runs / "moondream-kd", runs / "kd-seed-1")
    written = read_objects(runs / "moondream-kd" / "attempts.jsonl")
    told = command("distill", *asked, *training)
    assert told.code == 0, told.stderr
    again = command("eval", "--model", "moondream-kd", "--task", "scienceqa", "--data", "data",
                    "--limit", 2, "--json")  # fmt: skip
    assert again.code == 0, again.stderr
    assert len(again.json["runs"][0]["sessions"]) == 1
    told = command("distill", *asked, *training, "--seed", 1, "--name", "kd-seed-1", "--json")
    assert told.code == 0, told.stderr
    assert read_objects(runs / "kd-seed-1" / "attempts.jsonl") == written
    assert told.json["runs"][0]["model"]["name"] == "kd-seed-1"
    # The student that was finished last is now another one.
    refused = command("eval", "--model", "moondream-kd", "--task", "scienceqa", "--data", "data",
                      "--limit", 2)  # fmt: skip
    assert refused.code == Exit.USAGE
    kept = command("eval", "--model", "moondream-kd", "--weights", runs / "moondream-kd" / "student",
                   "--task", "scienceqa", "--data", "data", "--limit", 2)  # fmt: skip
    assert kept.code == 0, kept.stderr
