"""The Python interface: it does what the command does, and leaves a training as it was."""

from __future__ import annotations

import copy
import inspect
import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from transformers import AutoModelForImageTextToText, AutoProcessor, ViltForMaskedLM

import harness
from harness.core.errors import HarnessError
from harness.models.in_memory import network_of
from harness.run.folder import RunFolder
from harness.weights import minis
from tasks import load_task

FAMILIES = ("llava", "moondream", "phi-3.5", "kosmos-2", "vilt", "llava-cot")


def stable(predictions: Any) -> list[dict[str, Any]]:
    """Predictions without what differs from run to run: the time they took."""
    timed = ("seconds", "preprocess_seconds", "latency")
    return [
        {k: v for k, v in asdict(prediction).items() if k not in timed}
        for prediction in predictions
    ]


def load(folder: Path, **how: Any) -> tuple[Any, Any]:
    """A checkpoint as a user loads it."""
    kind = ViltForMaskedLM if "vilt" in folder.name else AutoModelForImageTextToText
    return kind.from_pretrained(folder, **how), AutoProcessor.from_pretrained(folder)


def state_of(model: torch.nn.Module) -> tuple[Any, ...]:
    """What an evaluation may not change."""
    return (
        [(name, module.training) for name, module in model.named_modules()],
        [(n, p.requires_grad, p.grad, id(p), p.dtype) for n, p in model.named_parameters()],
        [(name, id(buffer)) for name, buffer in model.named_buffers()],
        {name: sorted(map(str, vars(module))) for name, module in model.named_modules()},
        [list(module._forward_hooks) for module in model.modules()],
        str(getattr(model, "generation_config", None)),
        model.config.to_dict(),
    )


def random_states() -> tuple[Any, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize("family", ["llava", "vilt"])
def test_a_run_is_that_of_the_command(
    family: str, command, tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """The same metrics, predictions, settings and fingerprint, so that either resumes the other."""
    folder = tiny(family)
    done = command(
        "eval", "--model", folder, "--task", "scienceqa", "--data", drawn, "--limit", 5,
        "--max-new-tokens", 6, "--device", "cpu", "--runs", tmp_path / "cli", "--json",
    )  # fmt: skip
    run = harness.evaluate(
        folder, "scienceqa", data=drawn, limit=5, max_new_tokens=6, device="cpu",
        runs=tmp_path / "api",
    )  # fmt: skip
    (told,) = done.json["runs"]
    assert json.loads(json.dumps({k: asdict(v) for k, v in run.metrics.items()})) == told["metrics"]
    assert stable(run.predictions) == stable(RunFolder(Path(told["folder"])).existing_predictions())
    assert json.loads(json.dumps(run.record.fingerprint)) == told["fingerprint"]
    assert run.n == 5
    resumed = command(
        "eval", "--model", folder, "--task", "scienceqa", "--data", drawn, "--limit", 5,
        "--max-new-tokens", 6, "--device", "cpu", "--runs", tmp_path / "api", "--json",
    )  # fmt: skip
    assert resumed.code == 0
    assert len(resumed.json["runs"][0]["sessions"]) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_model_answers_as_its_folder_and_stays_as_it_was(
    family: str, tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """The same answers, with submodules in either mode; nothing of the model has changed."""
    folder = tiny(family)
    how: dict[str, Any] = {"data": drawn, "limit": 5, "max_new_tokens": 6}
    expected = harness.evaluate(folder, "scienceqa", device="cpu", runs=tmp_path / "runs", **how)
    model, processor = load(folder)
    model.train()
    next(model.children()).eval()
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(requires_grad=False)
    list(model.parameters())[1].grad = torch.ones_like(list(model.parameters())[1])
    grad = list(model.parameters())[1].grad
    before, states = state_of(model), random_states()
    side = getattr(processor.tokenizer, "padding_side", None)
    run = harness.evaluate(model, "scienceqa", processor=processor, **how)
    assert stable(run.predictions) == stable(expected.predictions)
    assert {k: v.value for k, v in run.metrics.items()} == {
        k: v.value for k, v in expected.metrics.items()
    }
    assert random_states() == states
    assert list(model.parameters())[1].grad is grad
    after = state_of(model)
    assert [str(part) for part in after] == [str(part) for part in before]
    assert getattr(processor.tokenizer, "padding_side", None) == side


HOW: dict[str, Any] = {"task": "scienceqa", "limit": 4, "max_new_tokens": 5}


def adapted(model: Any, **more: Any) -> Any:
    """The model with LoRA layers that change what it answers."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, lora_dropout=0.2, **more))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return wrapped


LORA = {"target_modules": ["q_proj", "v_proj"]}


def test_lora_layers_take_part_and_stay(tiny: Callable[..., Path], drawn: Path) -> None:
    """A model with LoRA answers as the merged one, and otherwise than the base."""
    model, processor = load(tiny("llava"))
    base = harness.evaluate((model, processor), data=drawn, **HOW)
    wrapped = adapted(model, **LORA).train()
    before = state_of(wrapped)
    run = harness.evaluate(wrapped, processor=processor, data=drawn, **HOW)
    assert [str(part) for part in state_of(wrapped)] == [str(part) for part in before]
    with wrapped.disable_adapter():
        without = harness.evaluate(wrapped, processor=processor, data=drawn, **HOW)
    merged = wrapped.merge_and_unload()
    whole = harness.evaluate(merged, processor=processor, data=drawn, **HOW)
    assert [p.raw for p in run.predictions] == [p.raw for p in whole.predictions]
    assert [p.raw for p in without.predictions] == [p.raw for p in base.predictions]
    assert [p.raw for p in run.predictions] != [p.raw for p in base.predictions]
    weights = {r.record.fingerprint["weights"] for r in (base, run, without, whole)}
    assert len(weights) == 4


@pytest.mark.parametrize("family", ["llava", "phi-3.5", "moondream"])
def test_a_training_goes_on_bit_for_bit(
    family: str, tiny: Callable[..., Path], drawn: Path
) -> None:
    """With gradient checkpointing, dropout and an optimizer: the same losses and weights with and
    without an evaluation in the middle, and before the first step."""
    folder = tiny(family)

    def trained(evaluate: bool) -> tuple[list[float], list[torch.Tensor], Any]:
        model, processor = load(folder)
        wrapped = adapted(model, target_modules="all-linear")
        wrapped.train()
        if family == "llava":
            wrapped.enable_input_require_grads()
            model.gradient_checkpointing_enable()
        tokens = torch.arange(60, 100).view(2, 20)
        optimizer = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=1e-2)
        torch.manual_seed(1)
        random.seed(1)
        losses, run = [], None
        for step in range(3):
            if evaluate and step in {0, 2}:
                run = harness.evaluate(wrapped, processor=processor, data=drawn, **HOW)
            mask = torch.ones_like(tokens)
            loss = wrapped(input_ids=tokens, attention_mask=mask, labels=tokens).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return losses, [p.detach().clone() for p in wrapped.parameters()], run

    plain, weights, _ = trained(evaluate=False)
    losses, evaluated, run = trained(evaluate=True)
    assert run.n == 4
    assert losses == plain
    assert all(torch.equal(a, b) for a, b in zip(weights, evaluated, strict=True))


def test_half_precision_stays_and_is_recorded(tiny: Callable[..., Path], drawn: Path) -> None:
    """A model in bfloat16 answers in bfloat16; an autocast around the call is in the record."""
    model, processor = load(tiny("llava"), dtype=torch.bfloat16)
    run = harness.evaluate(model, processor=processor, data=drawn, **HOW)
    assert run.record.settings["dtype"] == "bfloat16"
    assert run.record.settings["model"]["dtype"] == "bfloat16"
    expected = harness.evaluate(
        tiny("llava"), data=drawn, device="cpu", dtype="bfloat16", fresh=True,
        runs=run.folder.parent, **HOW,
    )  # fmt: skip
    assert stable(run.predictions) == stable(expected.predictions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = harness.evaluate(*load(tiny("llava"))[:1], processor=processor, data=drawn, **HOW)
    assert cast.record.settings["dtype"] == "float32, autocast bfloat16"


def test_two_states_never_share_a_run(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """One changed number is another model: its answers do not go into the same run; the unchanged
    model resumes, under the name that was given."""
    model, processor = load(tiny("llava"))
    how = {**HOW, "processor": processor, "data": drawn, "runs": tmp_path, "name": "mine"}
    first = harness.evaluate(model, **how)
    again = harness.evaluate(model, **how)
    assert len(again.record.sessions) == 1
    assert first.folder == again.folder == tmp_path / "scienceqa" / "mine" / "test"
    with torch.no_grad():
        list(model.parameters())[-1].view(-1)[0] += 1e-3
    with pytest.raises(HarnessError, match="weights"):
        harness.evaluate(model, **how)
    assert harness.evaluate(model, **{**how, "name": "next"}).n == 4


def test_an_error_leaves_the_model_as_it_was(tiny: Callable[..., Path], drawn: Path) -> None:
    """The mode and the random states come back where an evaluation ends with an error."""
    model, processor = load(tiny("llava"))
    model.train()
    states = random_states()

    def fail(predictions: Any) -> Any:
        torch.rand(3)
        raise HarnessError("No metric today.")

    task = replace(load_task("scienceqa"), metrics=(fail,))
    with pytest.raises(HarnessError, match="No metric today"):
        harness.evaluate(model, processor=processor, data=drawn, **{**HOW, "task": task})
    assert all(module.training for module in model.modules())
    assert random_states() == states


def test_signals_stay_with_the_program(tiny: Callable[..., Path], drawn: Path) -> None:
    """A notebook's own handler of Ctrl-C is not replaced, and its interrupt leaves a run that can
    be resumed."""
    model, processor = load(tiny("llava"))
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    harness.evaluate(model, processor=processor, data=drawn, **HOW)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_ctrl_c_leaves_a_run_that_can_be_resumed(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """What was answered is in a record that says that it was interrupted."""
    model, processor = load(tiny("vilt"))
    base = load_task("scienceqa")
    left = [10**6]

    def prompt(sample: Any, style: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return base.prompt(sample, style)

    task = replace(base, name="mine", prompt=prompt)
    how = {
        "processor": processor, "data": drawn, "runs": tmp_path, "name": "m", "batch_size": 1,
        "limit": 6, "workers": 0,
    }  # fmt: skip
    # Those that are hashed, one for the instruction, one to warm up, and three to answer.
    left[0] = 64 + 1 + 1 + 1 + 3
    with pytest.raises(KeyboardInterrupt):
        harness.evaluate(model, task, **how)
    folder = tmp_path / "mine" / "m" / "test"
    assert harness.load_run(folder).record.status == "interrupted"
    assert harness.load_run(folder).n == 3
    left[0] = 10**6
    run = harness.evaluate(model, task, **how)
    assert run.n == 6
    assert [session["samples"] for session in run.record.sessions] == [3, 3]


def test_runs_are_loaded_and_compared(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """By their folders or as objects, which show themselves as text and as a table."""
    how = {**HOW, "data": drawn, "runs": tmp_path, "device": "cpu", "seed": 0}
    one = harness.evaluate(tiny("llava"), name="one", **how)
    two = harness.evaluate(str(tiny("llava")), name="<b>two</b>", shuffle_choices=1, **how)
    loaded = harness.load_run(str(two.folder))
    assert loaded == two
    assert loaded.record == two.record
    by_object, by_path = harness.compare(one, two), harness.compare(str(one.folder), two.folder)
    assert by_object == by_path
    assert by_object.n == 4
    assert f"<b>two</b> on {drawn.name} (ScienceQA) test, n = 4" in repr(two)
    shown = two._repr_html_()
    assert "&lt;b&gt;two&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert "<th scope='row'>Accuracy</th><td>" in shown
    assert re.search(r": Accuracy \d+\.00%, Chance \d+\.\d\d%, Unparsed ", repr(two))
    frame = two.to_pandas()
    assert list(frame["sample_id"]) == [p.sample_id for p in two.predictions]
    assert list(frame["accuracy"]) == [float(p.correct) for p in two.predictions]
    assert list(frame["correct"]) == [p.correct for p in two.predictions]
    with pytest.raises(HarnessError):
        harness.load_run(tmp_path / "nothing")


def test_without_pandas_to_pandas_says_what_to_install(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pandas is no dependency of the interface."""
    run = harness.evaluate(
        tiny("vilt"), "scienceqa", data=drawn, limit=2, device="cpu", runs=tmp_path
    )
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(HarnessError, match="pip install pandas"):
        run.to_pandas()


def test_a_task_may_be_a_name_a_file_or_an_object(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """Of an object that is no task of ours, other functions are another run or other answers."""
    how = {"data": drawn, "limit": 3, "device": "cpu", "runs": tmp_path / "runs"}
    own = tmp_path / "mine.py"
    own.write_text(
        "from dataclasses import replace\nfrom tasks.scienceqa import TASK as S\n"
        "TASK = replace(S, name='mine')\n"
    )
    by_name = harness.evaluate(tiny("vilt"), "scienceqa", **how)
    by_object = harness.evaluate(tiny("vilt"), load_task("scienceqa"), **how)
    by_file = harness.evaluate(tiny("vilt"), own, **how)
    assert by_object.record.fingerprint == by_name.record.fingerprint
    assert len(by_object.record.sessions) == 1
    assert stable(by_file.predictions) == stable(by_name.predictions)
    scienceqa = load_task("scienceqa")

    def task(letter: int) -> Any:
        extract = lambda raw, choices: replace(  # noqa: E731
            scienceqa.extract(raw, choices), answer=letter
        )
        return replace(scienceqa, name="own", extract=extract)

    for letter in (0, 1):
        run = harness.evaluate(tiny("vilt"), task(letter), **how)
        assert [p.answer for p in run.predictions] == [letter] * 3
        assert len(run.record.sessions) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"limt": 5}, "There is no option 'limt'. Did you mean 'limit'"),
        ({"limit": 0}, "limit=0: it has to be at least 1"),
        ({"limit": "many"}, "limit='many' does not fit"),
        ({"style": "directly"}, "Did you mean 'direct'"),
        ({"temperature": float("inf")}, "finite"),
        ({"batch_size": "none"}, "neither auto nor a number"),
        ({"name": "../up"}, "is a path"),
        ({"top_p": 0.5}, "top_p does nothing without a --temperature"),
        ({"base_url": "http://127.0.0.1:1"}, "base_url does nothing without"),
        ({"text_only": "maybe"}, "text_only='maybe'"),
        ({"revision": "main"}, "revision applies only"),
        ({"split": "tset"}, "tset"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_do_not_fit_are_refused(
    given: dict[str, Any], words: str, tiny: Callable[..., Path], drawn: Path, tmp_path: Path
) -> None:
    """What the command refuses, with the option's name."""
    with pytest.raises(HarnessError) as caught:
        harness.evaluate(tiny("vilt"), "scienceqa", data=drawn, runs=tmp_path, **given)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_loaded_model_is_refused_with_the_reason(tiny: Callable[..., Path], drawn: Path) -> None:
    """Without its processor, or where it is none of transformers' models."""
    model, processor = load(tiny("vilt"))
    for arguments, words in (
        ((model, "scienceqa"), "needs its processor"),
        ((torch.nn.Linear(1, 1), "scienceqa"), "Linear, and no model of transformers"),
        (((model,), "scienceqa"), "pair"),
    ):
        given = {} if words.startswith("needs") or words == "pair" else {"processor": processor}
        with pytest.raises(HarnessError) as caught:
            harness.evaluate(*arguments, data=drawn, **given)
        assert words in str(caught.value)
    with pytest.raises(HarnessError, match="dtype does nothing for a model that is in memory"):
        harness.evaluate(model, "scienceqa", processor=processor, dtype="float16")
    with pytest.raises(HarnessError, match="no processor of transformers"):
        harness.evaluate(model, "scienceqa", processor=copy, data=drawn)
    with pytest.raises(HarnessError, match="goes with a loaded model"):
        harness.evaluate(tiny("vilt"), "scienceqa", processor=processor)


def test_virtual_tokens_are_refused(tiny: Callable[..., Path], drawn: Path) -> None:
    """Prompt tuning is outside the network: the base alone would answer."""
    from peft import PromptTuningConfig, get_peft_model

    model, processor = load(tiny("llava"))
    tuned = get_peft_model(
        model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2, token_dim=48,
                                  num_layers=2, num_attention_heads=2),
    )  # fmt: skip
    with pytest.raises(HarnessError, match="virtual tokens"):
        harness.evaluate(tuned, "scienceqa", processor=processor, data=drawn)


@pytest.mark.process
def test_import_is_free_of_what_is_heavy() -> None:
    """`import harness` and its names are there without torch, transformers or pandas."""
    code = (
        "import sys, harness; harness.evaluate, harness.load_run, harness.compare\n"
        "assert {'evaluate', 'load_run', 'compare'} <= set(dir(harness))\n"
        "assert not {'torch', 'transformers', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "try: harness.nothing\n"
        "except AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'harness' has no attribute 'nothing'\n"


def test_the_temporary_folder_goes_with_the_run(tiny: Callable[..., Path], drawn: Path) -> None:
    """A model in memory leaves nothing behind, unless a folder is given."""
    model, processor = load(tiny("vilt"))
    run = harness.evaluate(model, "scienceqa", processor=processor, data=drawn, limit=2)
    folder = run.folder
    assert (folder / "run.json").is_file()
    assert run.predictions
    del run
    assert not folder.exists()


def test_the_options_are_those_of_the_command() -> None:
    """Every option of `harness eval` that is not about printing, with its default."""
    from harness.cli import app

    command = typer.main.get_command(app).commands["eval"]
    own = {"model", "task", "as_json", "config", "dry_run"}
    wanted = {p.name: p.default for p in command.params if p.name not in own and p.expose_value}
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(harness.evaluate).parameters.items()
        if name not in {"model", "task", "processor"}
    }
    assert given.keys() == wanted.keys()
    assert {n: v or None for n, v in given.items()} == {n: v or None for n, v in wanted.items()}


def test_what_training_wraps_around_a_model_is_seen_through(tiny: Callable[..., Path]) -> None:
    """Data parallel, compiled, adapted: the network within is the same."""
    model, _ = load(tiny("llava"))
    assert network_of(torch.nn.DataParallel(model)) is model
    assert network_of(torch.compile(model, backend="eager")) is model
    assert network_of(torch.nn.DataParallel(adapted(model, **LORA))) is model


def test_a_mini_in_memory_keeps_its_label() -> None:
    """Scores of a miniature say so, also where it was loaded by hand."""
    folder = minis.find("kosmos-2")  # in the form that the library reads
    model, processor = load(folder)
    run = harness.evaluate((model, processor), "scienceqa-mini", limit=2)
    assert run.record.model.mini
    assert "mini (synthetic)" in repr(run)
    assert run.record.model.weights == "model in memory"
