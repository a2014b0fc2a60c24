"""`--engine vllm`, by a stand-in with vLLM's signatures: what it is given, and what becomes of its
answers."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import harness
from harness.core.errors import Exit, HarnessError
from harness.core.image_marks import IMAGE_MARK
from harness.core.options import ModelOptions
from harness.core.types import Decoding, Prompt
from harness.sources import vllm
from harness.sources.registry import find_source
from reports.export.formats import every_eval_ever
from reports.page import provenance
from tests import vllm_stand_in
from tests.vllm_stand_in import Calls

GREEDY = Decoding(max_new_tokens=32)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """vLLM, installed and not running yet."""
    monkeypatch.setattr(vllm, "_running", {})
    for name in ("VLLM_LOGGING_STREAM", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "")  # put back after the test
        monkeypatch.delenv(name)
    return vllm_stand_in.install(monkeypatch)


@pytest.fixture
def folder(tiny: Callable[..., Path]) -> Path:
    return tiny("llava-next")


def options(folder: Path, **changes: Any) -> ModelOptions:
    return ModelOptions(model=str(folder), engine="vllm", **changes)


def prompt(text: str, images: int = 1) -> Prompt:
    pictures = tuple(Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(images))
    return Prompt(text=text, question=text, images=pictures, choices=("one", "two"))


def record_of(run: harness.Run) -> dict[str, Any]:
    return json.loads((Path(run.folder) / "run.json").read_text(encoding="utf-8"))


def test_the_engine_gets_safe_arguments(calls: Calls, folder: Path) -> None:
    """A folder, a type, a seed, a number of pictures; no remote code, safetensors alone."""
    given = {"max_model_len": 2048, "tensor_parallel_size": 2}
    source = find_source(
        options(folder, dtype="bfloat16", engine_args=given, processor_args={"do_rescale": True})
    )
    source.load()
    assert calls.engines == [
        {
            "model": str(folder),
            "dtype": "bfloat16",
            "seed": 0,
            "load_format": "safetensors",
            "limit_mm_per_prompt": {"image": vllm.IMAGES},
            "mm_processor_kwargs": {"do_rescale": True},
            **given,
        }
    ]
    assert source.devices == 2


def test_a_batch_is_handed_over_whole(calls: Calls, folder: Path) -> None:
    """One call for all questions, each with its pictures first, in the template of the others."""
    model = find_source(options(folder)).load()
    prompts = [prompt("What is it?", images=2), prompt("And <image> this?", images=0)]
    outputs = model.generate(model.prepare(prompts), GREEDY)
    (chat,) = calls.chats
    (first, how), (second, _) = chat
    (turn,) = first
    assert [part["type"] for part in turn["content"]] == ["image_pil", "image_pil", "text"]
    assert turn["content"][0]["image_pil"] is prompts[0].images[0]
    assert turn["content"][2]["text"].startswith("What is it?")
    assert "<image>" not in second[0]["content"][0]["text"]
    marked = prompt(f"Is {IMAGE_MARK} or {IMAGE_MARK} it?", images=2)
    (question,) = model.prepare([marked])
    kinds = [part["type"] for part in question.messages[0]["content"]]
    assert kinds == ["text", "image_pil", "text", "image_pil", "text"]
    assert calls.templates[0]
    assert (how.temperature, how.seed, how.max_tokens) == (0, None, 32)
    assert [output.finish for output in outputs] == ["stop", "stop"]
    assert outputs[0].tokens == len(vllm_stand_in.ANSWER.split())
    assert outputs[0].tokens_in == len(outputs[0].prompt.split())


def test_the_stop_text_is_kept(calls: Calls, folder: Path) -> None:
    """An answer ends with it, as those of the other engines do; a cut one is cut."""
    model = find_source(options(folder)).load()
    stopped, cut = (
        model.generate(model.prepare([prompt("What?")]), Decoding(max_new_tokens=n, stop="</C"))[0]
        for n in (32, 2)
    )
    assert stopped.raw.endswith("B </C")
    assert stopped.finish == "stop"
    assert (cut.finish, cut.tokens) == ("length", 2)


def test_sampled_rows_have_seeds_of_their_own(calls: Calls, folder: Path) -> None:
    """The same seed for all would draw the same noise for each question of a batch."""
    model = find_source(options(folder)).load()
    model.generate(
        model.prepare([prompt("a"), prompt("b")]),
        Decoding(max_new_tokens=4, temperature=0.5, top_p=0.9, seed=7),
    )
    assert [how.seed for _, how in calls.chats[0]] == [7, 8]
    assert {(how.temperature, how.top_p) for _, how in calls.chats[0]} == {(0.5, 0.9)}


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_prompt_beyond_the_context_is_its_own_error(
    calls: Calls, folder: Path, place: int
) -> None:
    """In the words of the other engines; the questions around it are answered."""
    model = find_source(options(folder, engine_args={"max_model_len": 40})).load()
    prompts = [prompt("Short?") for _ in range(5)]
    prompts[place] = prompt("word " * 90)
    outputs = model.generate(model.prepare(prompts), GREEDY)
    failed = [number for number, output in enumerate(outputs) if output.error]
    assert failed == [place]
    assert outputs[place].error.endswith("tokens, context 40")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "The decoder prompt (length 5951) is longer than the maximum model length of 4096. Ma",
            "5,951 tokens, context 4,096",
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 0 output tokens and your prompt contains at least 4097 input tokens.",
            "4,097 tokens, context 4,096",
        ),
        (
            "You passed 99000 input characters and requested 0 output tokens. However, the model's context length is only 4096 tokens, resulting in a maximum",
            "4,097 tokens, context 4,096",
        ),
        ("Something else", "ValueError: Something else"),
    ],
)
def test_the_ways_to_say_too_long(words: str, reason: str) -> None:
    """VLLM has worded it in several ways."""
    assert vllm._why(ValueError(words)) == reason


def test_a_run_is_like_any_other(calls: Calls, folder: Path, drawn: Path, tmp_path: Path) -> None:
    """Its record says which vLLM ran it and how; resuming it starts nothing."""
    given = {"task": "scienceqa", "data": drawn, "runs": tmp_path, "limit": 6, "engine": "vllm"}
    run = harness.evaluate(folder, engine_arg=["max_model_len=512"], **given)
    assert run.n == 6
    record = record_of(run)
    assert record["settings"]["engine"] == "vllm"
    model = record["settings"]["model"]
    assert (model["vllm"], model["engine_arguments"]["max_model_len"]) == ("0.33.0", 512)
    assert record["fingerprint"]["mode"] == "generate by vllm"
    assert record["fingerprint"]["template"].startswith("sha256:")
    assert record["sessions"][0]["peak_memory_bytes"] is None
    assert [len(chat) for chat in calls.chats] == [4, 6]  # to warm up, and all of it
    harness.evaluate(folder, engine_arg=["max_model_len=512"], **given)
    assert len(calls.chats) == 2


@pytest.mark.parametrize(("first", "then"), [("vllm", "harness"), ("harness", "vllm")])
def test_engines_do_not_share_a_run(
    calls: Calls, folder: Path, drawn: Path, tmp_path: Path, *, first: str, then: str
) -> None:
    """Its answers may differ from those of the other engines, and theirs from its."""
    given = {"task": "scienceqa", "data": drawn, "runs": tmp_path, "max_new_tokens": 2}
    harness.evaluate(folder, engine=first, limit=1, **given)
    with pytest.raises(HarnessError, match="settings differ") as caught:
        harness.evaluate(folder, engine=then, limit=2, **given)
    assert "generate by vllm" in caught.value.known


def test_questions_beyond_the_context_do_not_end_a_run(
    calls: Calls, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """They are rows with their error, counted as what they are, however many there are."""
    run = harness.evaluate(
        folder,
        "scienceqa",
        data=drawn,
        runs=tmp_path,
        limit=12,
        engine="vllm",
        engine_arg=["max_model_len=3"],
    )
    counts = record_of(run)["counts"]
    assert (counts["failed"], counts["beyond_context"]) == (12, 12)


def test_an_engine_that_dies_ends_the_run(
    calls: Calls, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """What was answered is kept; the same call resumes."""
    given = {"task": "scienceqa", "data": drawn, "runs": tmp_path, "limit": 8, "engine": "vllm"}
    calls.dies_at = 2
    with pytest.raises(HarnessError, match="vLLM has stopped working"):
        harness.evaluate(folder, batch_size=4, **given)
    calls.dies_at = None
    assert harness.evaluate(folder, batch_size=4, **given).n == 8
    assert [len(chat) for chat in calls.chats] == [4, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora": Path("adapter")}, "--adapter: vLLM would apply a LoRA adapter"),
        ({"quantize": "nf4"}, "--quantize: vLLM gets the weights as they are"),
        ({"device_map": "auto"}, "--device-map: vLLM spreads a model by itself"),
        ({"attention": "sdpa"}, "--attn: vLLM chooses its own attention kernel"),
        ({"device": "cuda:1"}, "--device cuda:1: vLLM runs where it was built for"),
        ({"engine_args": {"trust_remote_code": True}}, "--engine-arg trust_remote_code: it is"),
        ({"engine_args": {"load_format": "pt"}}, "--engine-arg load_format: it is none"),
        ({"engine_args": {"limit_mm_per_prompt": 3}}, "limit_mm_per_prompt: it is a number"),
        ({"engine_args": {"tensor_parallel_size": "two"}}, "size=two: it is a number, or true"),
    ],
)
def test_options_that_do_not_go_with_it_are_refused(
    calls: Calls, folder: Path, changes: dict[str, Any], words: str
) -> None:
    """Before anything is loaded, by their name and with what helps."""
    with pytest.raises(HarnessError, match=words) as caught:
        find_source(options(folder, **changes))
    assert caught.value.what.startswith("--")
    assert not calls.engines


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"mode": "loglikelihood"}, "--mode loglikelihood needs the likelihood of the options"),
        ({"conclude": True}, "--conclude needs the likelihood of the options, which vLLM does not"),
        ({"truncate": True}, "--truncate counts the tokens of a prompt beforehand, which vLLM"),
    ],
)
def test_what_it_cannot_do_is_refused(
    calls: Calls, folder: Path, drawn: Path, tmp_path: Path, *, how: dict[str, Any], words: str
) -> None:
    """Before it is started."""
    with pytest.raises(HarnessError, match=words):
        harness.evaluate(folder, "scienceqa", data=drawn, runs=tmp_path, engine="vllm", **how)
    assert not calls.engines


def test_a_model_in_memory_is_none_of_its(calls: Calls, tmp_path: Path) -> None:
    """It loads weights itself."""
    with pytest.raises(HarnessError, match="runs no model that is in memory"):
        harness.evaluate(object(), "scienceqa", processor=object(), engine="vllm")


def test_a_family_with_words_of_its_own_is_refused(calls: Calls, tiny, tmp_path: Path) -> None:
    """VLLM would put another template around its questions."""
    with pytest.raises(HarnessError, match="asks by a chat template"):
        find_source(options(tiny("moondream"))).load()
    assert not calls.engines


def test_another_picture_than_it_expects_is_a_row(calls: Calls, folder: Path) -> None:
    """The number of pictures is known to vLLM before the first question."""
    given = {"limit_mm_per_prompt": {"image": 2}}
    source = find_source(options(folder, engine_args=given))
    assert (source.max_images, source.load().max_images) == (2, 2)


def test_one_engine_by_process(calls: Calls, folder: Path, tiny) -> None:
    """The same model is run by the one that is there; another one would find no memory."""
    find_source(options(folder)).load()
    find_source(options(folder)).load()
    assert len(calls.engines) == 1
    with pytest.raises(HarnessError, match="already runs another model"):
        find_source(options(tiny("idefics3"))).load()


def test_what_vllm_says_of_a_model_is_shown(calls: Calls, folder: Path) -> None:
    """An architecture that it does not have, say."""
    calls.unsupported = True
    with pytest.raises(HarnessError, match="vLLM cannot run") as caught:
        find_source(options(folder)).load()
    assert "are not supported for now" in caught.value.known
    assert caught.value.code == Exit.MISSING


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """With the command that installs it."""
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    with pytest.raises(HarnessError, match="needs vLLM, which is not installed") as caught:
        find_source(options(folder))
    assert caught.value.remedy == "pip install 'harness-vlm[vllm]'"
    assert caught.value.code == Exit.MISSING


def test_nothing_is_written_to_standard_output(
    calls: Calls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own log would break --json; and it reports to nobody."""
    find_source(options(folder)).load()
    assert os.environ["VLLM_LOGGING_STREAM"] == "ext://sys.stderr"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_the_documented_commands_work(
    calls: Calls, command, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """What docs/vllm.md tells to type is what the command takes, and each argument that it names."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "vllm.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    for line in block.splitlines():
        vllm._running.clear()
        _, *arguments = shlex.split(line.replace("llava-hf/llava-v1.6-mistral-7b-hf", str(folder)))
        where = ("--data", drawn, "--limit", 2, "--runs", tmp_path, "--fresh")
        result = command(*arguments, *where)
        assert result.code == 0, result.stderr
    assert calls.engines[1]["tensor_parallel_size"] == 2
    assert all(f"`{name}`" in text for name in vllm.ARGUMENTS)
    assert f"{vllm.BATCH} by default" in text
    assert f"{vllm.IMAGES} by default" in text


def test_check_and_ask_take_it(calls: Calls, command, folder: Path, drawn: Path) -> None:
    """What it is, what it can do, and the tokens that it counts for a picture."""
    report = command("check", folder, "--engine", "vllm", "--json").json
    assert (report["engine"], report["vllm"], report["class"]) == ("vllm", "0.33.0", "vllm.LLM")
    assert (report["log_likelihoods"], report["picture_tokens"]) == (False, 1)
    assert report["no_log_likelihoods"] == "vLLM does not give them"
    picture = drawn / "images" / "biology-00.png"
    asked = command(
        *("ask", "--model", folder, "--engine", "vllm", "-q", "Which?", "-i", picture),
        *("--choices", "x", "--choices", "y"),
    )
    assert "Answer: B, y" in asked.stdout


def test_a_dry_run_starts_nothing(
    calls: Calls, command, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """The prompt is that of the other engines; what is in the way is said."""
    where = ("--task", "scienceqa", "--data", drawn, "--runs", tmp_path, "--dry-run")
    prompts = [
        command("eval", "--model", folder, "--engine", engine, *where, "--json").json["runs"][0]
        for engine in ("harness", "vllm")
    ]
    assert prompts[0]["prompt"] == prompts[1]["prompt"]
    assert not calls.engines


def test_exports_and_the_page_name_it(
    calls: Calls, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """As the engine of the run, with its version."""
    run = harness.evaluate(folder, "scienceqa", data=drawn, runs=tmp_path, limit=1, engine="vllm")
    expected = {"name": "vllm", "version": "0.33.0"}
    assert every_eval_ever._model(run.record)["inference_engine"] == expected
    software = next(e.text for e in provenance._entries(run.record, None) if e.name == "Software")
    assert "vllm 0.33.0" in software


@pytest.mark.parametrize("page", ["eval", "ask", "check"])
def test_help_says_that_it_is_untried(page: str, command) -> None:
    """Nobody takes it for tested."""
    help_ = " ".join(command(page, "--help").stdout.replace("│", " ").split())
    assert "vllm: vLLM, whose answers may differ; untried on a GPU" in help_
    assert "--engine-arg" in help_
