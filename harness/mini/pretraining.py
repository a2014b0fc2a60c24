"""From random weights to a mini: the checkpoint is built, taught stage by stage, and written.

Every stage begins from a random state of its own, so that a training that goes on from a kept stage
ends as one that was never interrupted.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.activations import NewGELUActivation

from harness.checkpoints.resolve import find_checkpoint
from harness.core.files.atomic import temporary_folder
from harness.core.progress import Make, Silent
from harness.mini import curriculum, lessons, masks, seeing
from harness.mini.lessons import Book
from harness.mini.masks import Filled, MaskEncoder
from harness.mini.recipes import RECIPES
from harness.mini.training import Encoder, Row, Shuffled, Stage, run_stage, target_loss
from harness.models.generative import GenerativeModel
from harness.models.loading import LoadOptions, load
from harness.models.tiny import build
from harness.models.vilt import Vilt
from harness.synthetic.scenes import Scene

CELLS = "cells"
"""The kind of lesson that is asked of the vision encoder alone."""
FEW = 64
"""Words of the first lines."""
Losses = Callable[[], Iterator[tuple[Tensor, int]]]
"""Makes the parts of a step's loss: each a sum, and over how many targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """What a stage came to."""

    stage: Stage
    steps: int
    loss: float
    """The mean of its last twentieth of steps."""
    seconds: float
    """CPU time."""


def pretrain(
    name: str,
    folder: Path,
    *,
    book: Book,
    stages: Sequence[Stage] | None = None,
    seed: int = 0,
    keep: Path | None = None,
    progress: Make = Silent,
) -> list[Taught]:
    """Write the checkpoint `name` to `folder`, its weights in bfloat16.

    Args:
        stages: None: those of the model's recipe.
        keep: a folder for what each stage leaves; what is there already is gone on from.
    """
    texts = corpus(book)
    build(name, folder, seed=seed, size="mini", corpus=texts)
    model: Any = load(find_checkpoint(name, weights=str(folder)), _OPTIONS)
    told = [name, seed, len(book.choice), len(book.open)]
    course = _Course(model, book, texts, seed=seed, keep=keep, progress=progress)
    taught = course.run(RECIPES[name].stages if stages is None else stages, told)
    _write(model.network, folder)
    return taught


_OPTIONS = LoadOptions(device="cpu", dtype="float32")


class _Course:
    """One model on its way through its stages."""

    def __init__(
        self,
        model: Any,
        book: Book,
        texts: Sequence[str],
        *,
        seed: int,
        keep: Path | None,
        progress: Make,
    ) -> None:
        self._network: nn.Module = model.network
        _quicken(self._network)
        self._pupil: _Pupil = (_Filler if isinstance(model, Vilt) else _Writer)(model, book, texts)
        self._seed = seed
        self._keep = keep
        self._progress = progress

    def run(self, stages: Sequence[Stage], told: Sequence[object]) -> list[Taught]:
        """Teach the stages that are not kept. `told`: what they depend on beside each other."""
        taught: list[Taught] = []
        so_far = sha256(json.dumps(told).encode())
        for stage in stages:
            so_far.update(json.dumps(_plain(stage)).encode())
            name = f"{told[0]}-{stage.name}-{so_far.hexdigest()[:12]}.safetensors"
            kept = self._keep / name if self._keep else None
            if kept and kept.exists():
                taught.append(_restore(self._network, kept, stage))
                continue
            taught.append(self._teach(stage))
            if kept:
                _keep(self._network, kept, taught[-1])
        return taught

    def _teach(self, stage: Stage) -> Taught:
        # A draw to be repeated, not a secret.
        chance = Random(f"{self._seed}/{stage.name}")  # noqa: S311
        started = time.process_time()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(chance.getrandbits(32))
            parts = self._pupil.losses(stage, chance)
            losses = run_stage(stage, self._network, parts, progress=self._progress)
        tail = losses[-max(1, len(losses) // 20) :]
        seconds = time.process_time() - started
        return Taught(stage=stage, steps=len(losses), loss=fmean(tail), seconds=seconds)


def corpus(book: Book) -> list[str]:
    """Every text that a mini reads or writes, for its vocabulary."""
    texts = []
    for item in (*book.choice, *book.open):
        task = book.choice_task if item.choices else book.open_task
        prompt = lessons.asked(task, item, "direct", picture=False)
        texts += [prompt.text, item.summary, item.caption, item.reasoning, str(item.answer)]
    return [*texts, *lessons.DESCRIBE, *_WORDING * 50]


_WORDING = (
    "Question: Answer: Answer with the letter of the correct option only.",
    "The answer is A. B. C. D. E. A: x, B: x, C: x, D: x, E: x",
    "<SUMMARY> x </SUMMARY>\n\n<CAPTION> x </CAPTION>\n\n<REASONING> x </REASONING>\n\n",
    "<CONCLUSION> B </CONCLUSION> user assistant",
)
"""Often enough to be whole pieces of every vocabulary."""


def _wording(kind: str) -> Random:
    """What chooses among wordings: the same in whichever stage, and process, lessons are made."""
    return Random(f"wording of {kind}")  # noqa: S311  # a draw to be repeated, not a secret


def _plain(stage: Stage) -> dict[str, Any]:
    """What decides the outcome of a stage; defaults left out, so that a new one changes nothing."""
    given = {f.name: getattr(stage, f.name) for f in fields(stage)}
    changed = {f.name: given[f.name] for f in fields(stage) if given[f.name] != f.default}
    return changed | {"mix": dict(stage.mix)}


def _keep(network: nn.Module, path: Path, taught: Taught) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    figures = {"steps": taught.steps, "loss": taught.loss, "seconds": taught.seconds}
    save_file(state, path, metadata={key: str(value) for key, value in figures.items()})


def _restore(network: nn.Module, kept: Path, stage: Stage) -> Taught:
    from safetensors import safe_open

    tensors = load_file(kept)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[name])
    with safe_open(kept, framework="pt") as file:
        figures = file.metadata()
    return Taught(
        stage=stage,
        steps=int(figures["steps"]),
        loss=float(figures["loss"]),
        seconds=float(figures["seconds"]),
    )


def _write(network: Any, folder: Path) -> None:
    """Put the trained weights in place of the random ones; all else stays as it was built."""
    network.to(torch.bfloat16)
    with temporary_folder(folder) as aside:
        network.save_pretrained(aside)
        shutil.move(aside / "model.safetensors", folder / "model.safetensors")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("dtype", "torch_dtype"):
        if key in config:
            config[key] = "bfloat16"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _quicken(network: nn.Module) -> None:
    """The same activation in one kernel, and without its seven intermediate results."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


class _Pupil(Protocol):
    """Makes the lessons of a stage into losses."""

    def losses(self, stage: Stage, chance: Random) -> Losses:
        """What makes the parts of each step's loss."""


class _Writer:
    """A model that writes."""

    def __init__(self, model: GenerativeModel, book: Book, texts: Sequence[str]) -> None:
        self._model = model
        self._book = book
        self._words = curriculum.words_of(texts)
        # The first lines are easier with words of one token.
        whole = [
            word
            for word in self._words
            if len(model.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1
        ]
        self._few = whole[:: max(1, len(whole) // FEW)][:FEW]
        self._encoder = Encoder(model)
        self._rows: dict[str, list[Row]] = {}

    def losses(self, stage: Stage, chance: Random) -> Losses:
        lines = {kind: n for kind, n in stage.mix.items() if kind in curriculum.KINDS}
        pictured = [
            (Shuffled(self._lessons(kind), chance), number)
            for kind, number in stage.mix.items()
            if kind in lessons.KINDS
        ]
        cells = self._cells(stage.mix[CELLS], chance) if CELLS in stage.mix else None
        network: Any = self._model.network
        if stage.frozen and network.config.model_type == "moondream1":
            see = seeing.TOKENS["moondream1"]
            self._encoder.freeze(lambda pixels: see(network, pixels)[:, 0])

        # Mllama reads a text through other layers where a picture stands beside it, and forgets
        # there what it is asked without one only.
        apart = pictured and network.config.model_type == "mllama"
        beside = self._encoder.pictures if apart else ()

        def parts() -> Iterator[tuple[Tensor, int]]:
            if lines:
                drawn = [
                    curriculum.KINDS[kind](
                        chance, self._few if place < stage.few * number else self._words
                    )
                    for kind, number in lines.items()
                    for place in range(number)
                ]
                yield self._loss(
                    [
                        self._encoder.line(line, chance.choice(beside) if beside else "")
                        for line in drawn
                    ]
                )
            for source, number in pictured:
                yield self._loss(source(number))
            if cells:
                yield cells.loss(), 1

        return parts

    def _cells(self, number: int, chance: Random) -> _Cells:
        self._lessons("caption")  # the encoder has all pictures from then on
        network: Any = self._model.network
        see = seeing.TOKENS[network.config.model_type]
        beside = network.config.model_type == "mllama"

        def loss(names: Sequence[str]) -> LossOf:
            embeddings = seeing.words(network, self._model.tokenizer, names)
            if beside:
                more = seeing.vectors(seeing.around_size(names), embeddings)
                embeddings = torch.cat([embeddings, more])
            return lambda keys, seen: seeing.misfit(
                see(network, self._encoder.pixels(keys)), seen, embeddings
            )

        tell = seeing.all_of if beside else seeing.named
        return _Cells(loss, self._book, number, chance, tell)

    def _lessons(self, kind: str) -> list[Row]:
        if kind not in self._rows:
            # One by one: the pictures of all lessons together would take gigabytes.
            made = lessons.make(self._book, kind, _wording(kind))
            self._rows[kind] = [self._encoder.lesson(lesson) for lesson in made]
        return self._rows[kind]

    def _loss(self, rows: Sequence[Row]) -> tuple[Tensor, int]:
        return target_loss(self._model.network, *self._encoder.batch(rows))


class _Filler:
    """A model that fills masks."""

    def __init__(self, model: Vilt, book: Book, texts: Sequence[str]) -> None:
        del texts
        self._model = model
        self._book = book
        self._encoder = MaskEncoder(model)
        self._rows: dict[str, list[Filled]] = {}

    def losses(self, stage: Stage, chance: Random) -> Losses:
        pictured = [
            (kind, Shuffled(self._lessons(kind), chance), number)
            for kind, number in stage.mix.items()
            if kind in lessons.KINDS
        ]
        cells = self._cells(stage.mix[CELLS], chance) if CELLS in stage.mix else None

        def parts() -> Iterator[tuple[Tensor, int]]:
            for kind, source, number in pictured:
                rows = source(number)
                if kind == "caption":
                    rows = [self._encoder.masked(row, chance) for row in rows]
                yield self._encoder.loss(rows)
            if cells:
                yield cells.loss(), 1

        return parts

    def _cells(self, number: int, chance: Random) -> _Cells:
        self._lessons("caption")
        network: Any = self._model.network

        def loss(names: Sequence[str]) -> LossOf:
            tokenizer = self._model.tokenizer
            ids = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in names]

            def named(keys: Sequence[str], seen: Tensor) -> Tensor:
                patches = masks.patches(network, self._encoder.pixels(keys))
                return seeing.unnamed(network.mlm_score(patches), seen, ids)

            return named

        return _Cells(loss, self._book, number, chance)

    def _lessons(self, kind: str) -> list[Filled]:
        if kind not in self._rows:
            make = self._encoder.caption if kind == "caption" else self._encoder.choice
            self._rows[kind] = [
                make(lesson) for lesson in lessons.make(self._book, kind, _wording(kind))
            ]
        return self._rows[kind]


LossOf = Callable[[Sequence[str], Tensor], Tensor]
"""Pictures, and what is in their cells -> loss."""


class _Cells:
    """Names in the cells of pictures, asked of what the vision encoder makes of them."""

    def __init__(
        self,
        loss: Callable[[Sequence[str]], LossOf],
        book: Book,
        number: int,
        chance: Random,
        tell: Callable[[Scene, Sequence[str]], Tensor] = seeing.named,
    ) -> None:
        self._number = number
        self._chance = chance
        scenes: Mapping[str, Scene] = {repr(item.scene): item.scene for item in book.choice}
        names = seeing.names_of(list(scenes.values()))
        self._keys = sorted(scenes)
        self._seen = {key: tell(scene, names) for key, scene in scenes.items()}
        self._loss = loss(names)

    def loss(self) -> Tensor:
        keys = self._chance.sample(self._keys, self._number)
        return self._loss(keys, torch.stack([self._seen[key] for key in keys]))
