"""Pretrain a mini from random weights: build the checkpoint, train it stage by stage, write it.

Every stage starts from a random state of its own, so that a training that resumes from a kept stage
ends like one that was never interrupted.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.activations import NewGELUActivation

from harness.checkpoints.resolve import find_checkpoint
from harness.core.files.atomic import temporary_folder
from harness.core.progress import Make, Silent
from harness.families.tiny import build
from harness.families.vilt.model import Vilt
from harness.mini import examples
from harness.mini.examples import TrainingQuestions
from harness.mini.objectives import CausalObjective, MaskedObjective, Objective
from harness.mini.recipes import RECIPES
from harness.mini.training_loop import Stage, run_stage
from harness.models.loading import LoadOptions, load


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """How a stage of the training ended."""

    stage: Stage
    steps: int
    loss: float
    """The mean over its last twentieth of steps."""
    seconds: float
    """CPU time."""


def pretrain(
    name: str,
    folder: Path,
    *,
    questions: TrainingQuestions,
    stages: Sequence[Stage] | None = None,
    seed: int = 0,
    keep: Path | None = None,
    progress: Make = Silent,
) -> list[StageResult]:
    """Write the checkpoint `name` to `folder`, its weights in float32.

    Args:
        stages: None: those of the model's recipe.
        keep: a folder for the weights after each stage; training resumes from those that are there.
    """
    texts = tokenizer_corpus(questions)
    build(name, folder, seed=seed, size="mini", corpus=texts)
    model: Any = load(find_checkpoint(name, weights=str(folder)), _OPTIONS)
    identity = [name, seed, len(questions.choice), len(questions.open)]
    training = _Training(model, questions, texts, seed=seed, keep=keep, progress=progress)
    results = training.run(RECIPES[name].stages if stages is None else stages, identity)
    _write(model.network, folder)
    return results


_OPTIONS = LoadOptions(device="cpu", dtype="float32")


class _Training:
    """The stages of one model."""

    def __init__(
        self,
        model: Any,
        questions: TrainingQuestions,
        texts: Sequence[str],
        *,
        seed: int,
        keep: Path | None,
        progress: Make,
    ) -> None:
        self._network: nn.Module = model.network
        _fuse_activations(self._network)
        objective = MaskedObjective if isinstance(model, Vilt) else CausalObjective
        self._objective: Objective = objective(model, questions, texts)
        self._seed = seed
        self._keep = keep
        self._progress = progress

    def run(self, stages: Sequence[Stage], identity: Sequence[object]) -> list[StageResult]:
        """Train the stages that are not kept.

        Args:
            identity: what they depend on, the stages before them left out.
        """
        results: list[StageResult] = []
        digest = sha256(json.dumps(identity).encode())
        for stage in stages:
            digest.update(json.dumps(_fields(stage)).encode())
            name = f"{identity[0]}-{stage.name}-{digest.hexdigest()[:12]}.safetensors"
            kept = self._keep / name if self._keep else None
            if kept and kept.exists():
                results.append(_restore(self._network, kept, stage))
                continue
            results.append(self._train(stage))
            if kept:
                _keep(self._network, kept, results[-1])
        return results

    def _train(self, stage: Stage) -> StageResult:
        # Reproducible random numbers, not a secret.
        rng = Random(f"{self._seed}/{stage.name}")  # noqa: S311
        started = time.process_time()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.getrandbits(32))
            parts = self._objective.losses(stage, rng)
            losses = run_stage(stage, self._network, parts, progress=self._progress)
        tail = losses[-max(1, len(losses) // 20) :]
        seconds = time.process_time() - started
        return StageResult(stage=stage, steps=len(losses), loss=fmean(tail), seconds=seconds)


def tokenizer_corpus(questions: TrainingQuestions) -> list[str]:
    """Every text of a mini's prompts and answers, for the training of its tokenizer."""
    texts = []
    for item in (*questions.choice, *questions.open):
        task = questions.choice_task if item.choices else questions.open_task
        prompt = examples.task_prompt(task, item, "direct", picture=False)
        texts += [prompt.text, item.summary, item.caption, item.reasoning, str(item.answer)]
    return [*texts, *examples.CAPTION_REQUESTS, *_FREQUENT_TEXTS * 50]


_FREQUENT_TEXTS = (
    "Question: Answer: Answer with the letter of the correct option only.",
    "The answer is A. B. C. D. E. A: x, B: x, C: x, D: x, E: x",
    "<SUMMARY> x </SUMMARY>\n\n<CAPTION> x </CAPTION>\n\n<REASONING> x </REASONING>\n\n",
    "<CONCLUSION> B </CONCLUSION> user assistant",
)
"""Repeated often enough to become whole tokens of every vocabulary."""


def _fields(stage: Stage) -> dict[str, Any]:
    """The fields that decide the outcome of a stage, without defaults, so that a new field changes
    no name of a kept stage."""
    given = {f.name: getattr(stage, f.name) for f in fields(stage)}
    changed = {f.name: given[f.name] for f in fields(stage) if given[f.name] != f.default}
    return changed | {"mix": dict(stage.mix)}


def _keep(network: nn.Module, path: Path, result: StageResult) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    figures = {"steps": result.steps, "loss": result.loss, "seconds": result.seconds}
    save_file(state, path, metadata={key: str(value) for key, value in figures.items()})


def _restore(network: nn.Module, kept: Path, stage: Stage) -> StageResult:
    from safetensors import safe_open

    tensors = load_file(kept)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[name])
    with safe_open(kept, framework="pt") as file:
        figures = file.metadata()
    return StageResult(
        stage=stage,
        steps=int(figures["steps"]),
        loss=float(figures["loss"]),
        seconds=float(figures["seconds"]),
    )


def _write(network: Any, folder: Path) -> None:
    """Replace the random weights by the trained ones; all else stays as it was built."""
    with temporary_folder(folder) as aside:
        network.save_pretrained(aside)
        shutil.move(aside / "model.safetensors", folder / "model.safetensors")


def _fuse_activations(network: nn.Module) -> None:
    """Compute GELU in one kernel, without its seven intermediate results."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
