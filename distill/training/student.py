"""The student: a model of any family that has training traits, what of it is trained, its batches
and its loss, and the checkpoint that it leaves."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.utils.checkpoint
from PIL import Image
from torch import Tensor, nn

from distill.config import DistillConfig
from distill.examples import Example
from distill.objectives import objective_of
from distill.objectives.objective import Objective, TargetTokens, TopLogits
from distill.rationales.logits import read_logits
from distill.training.base_model import load_base, load_unchanged
from distill.training.batches import Batch, joined_padded, one_by_one, packed, sequences_of
from distill.training.features import UNUSABLE, FeatureStore, Pictures
from distill.training.lora import (
    adapted_layers,
    adapter_deltas,
    add_adapters,
    names_within_adapters,
    save_adapter,
)
from distill.training.network import Network, Sequences, hash_parameters, parts_of_parameters
from distill.training.own_answers import SampledAnswers, Score
from distill.training.sharding import gathered, shard
from distill.training.tokens import IGNORED, Row, RowMaker, checkpoint_of
from harness.checkpoints.folder import SUFFIXES, weights_fingerprint
from harness.core.errors import SampleError
from harness.core.types import Task
from harness.engine.encoded_prompts import EncodedPrompt
from harness.models.context_length import context_length


class TargetLoss(nn.Module):
    """The objective's loss, with logits computed where there are labels and nowhere else."""

    def __init__(
        self,
        network: Network,
        objective: Objective,
        autocast: torch.dtype | None,
        *,
        chunk: int | None = None,
    ) -> None:
        """Args: chunk: target tokens whose logits are computed, and computed again for the
        gradient, at once; None: all."""
        super().__init__()
        self.model = network.model
        self._network = network
        self._objective = objective
        self._autocast = autocast
        self._chunk = chunk

    def forward(
        self,
        sequences: Sequences,
        labels: Tensor,
        weights: Tensor,
        *,
        features: Sequence[Tensor] = (),
        pictured: Sequence[EncodedPrompt] = (),
        owners: Sequence[int] = (),
        teacher: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """See `distill.objectives.objective.Objective.loss`."""
        kind = sequences.ids.device.type
        with torch.autocast(kind, self._autocast, enabled=self._autocast is not None):
            if pictured:
                features = self._network.encode_images(pictured)
            hidden = self._network.hidden_states(sequences, features, owners)
        learned = labels[:, 1:] != IGNORED  # (B, L - 1)
        return self._loss(
            hidden[:, :-1][learned],  # (targets, D)
            labels[:, 1:][learned],
            weights[:, 1:][learned],
            teacher=teacher or (),
        )

    def _loss(
        self, hidden: Tensor, labels: Tensor, weights: Tensor, *, teacher: Sequence[Tensor]
    ) -> Tensor:
        """The loss of all target tokens, in parts where that saves memory."""
        chunk = self._chunk
        if chunk is None or len(labels) <= chunk:
            return self._loss_at_once(hidden, labels, weights, *teacher)
        parts = []
        for values in zip(
            *(torch.split(each, chunk) for each in (hidden, labels, weights, *teacher)), strict=True
        ):
            part = torch.utils.checkpoint.checkpoint(
                self._loss_at_once, *values, use_reentrant=False
            )
            parts.append(part * values[2].sum())
        total = weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
        return torch.stack(parts).sum() / total

    def _loss_at_once(
        self, hidden: Tensor, labels: Tensor, weights: Tensor, *teacher: Tensor
    ) -> Tensor:
        with torch.autocast(hidden.device.type, self._autocast, enabled=self._autocast is not None):
            logits = self._network.head(hidden)  # (targets, vocabulary)
        tops = TopLogits(*teacher) if teacher else None
        return self._objective.loss(
            TargetTokens(logits=logits, labels=labels, weights=weights, teacher=tops)
        )


class Student:
    """A checkpoint of a family that can be trained, in its published layout."""

    def __init__(
        self,
        base: Path,
        config: DistillConfig,
        task: Task,
        *,
        features: Path,
        device: str = "cpu",
        processes: int = 1,
    ) -> None:
        """Load the model and freeze what is not trained.

        Args:
            task: words the questions.
            features: folder of cached image features.
            device: as torch names it.
            processes: how many share the folder of features.

        Raises:
            HarnessError: LoRA has nothing to adapt, or a setting is not for this family.
        """
        self._base = base
        self._config = config
        self._device = torch.device(device)
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(config.precision)
        self._autocast = None if config.all_in_float16 else half
        kept = half if config.all_in_float16 and half else torch.float32
        objective = objective_of(config)
        self.checkpoint = checkpoint_of(base, objective)
        """The base, by which questions are worded."""
        loaded = load_base(
            self.checkpoint,
            config,
            dtype=kept,
            device=device,
        )
        self._processor: Any = loaded.processor
        self.network = loaded.network
        model = loaded.model
        self.rows = RowMaker(self._processor, self.checkpoint, objective, task)
        """From an example to its tokens, a row for each target."""
        self.context = context_length(model.config)
        """Tokens that a sequence may have; None: it is not known."""
        self._parts = parts_of_parameters(model, self.network.traits)
        self._freeze(model, half)
        self._model = model
        self._target_loss = TargetLoss(
            self.network, objective, self._autocast, chunk=config.logits_at_once
        )
        self.module: nn.Module = self._target_loss
        """What computes the loss in training, with what several processes put around it."""
        self._answers = (
            SampledAnswers(self.network, self._processor, sampling, self._autocast)
            if (sampling := objective.sampling)
            else None
        )
        self._score: Score | None = None
        self._store = self._feature_store(features, half or torch.float32, writers=processes)
        self._image_tokens: set[int] = set()

    @property
    def image_tokens(self) -> str:
        """Tokens that stand for the pictures of a question, in words: 729 for the published
        Moondream."""
        counts = sorted(self._image_tokens)
        return (
            f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0] if counts else 0}"
        )

    @property
    def _learns_logits(self) -> bool:
        return objective_of(self._config).top_logits > 0

    @property
    def writes_answers(self) -> bool:
        """Whether a batch depends on the student as it is when the batch is made."""
        return self._answers is not None

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether each image needs encoding only once."""
        return not {"vision", "projector"} & set(self._config.train)

    @property
    def vision_is_frozen(self) -> bool:
        """Whether the weights of the vision encoder stay as they are; with LoRA those of the base
        always do."""
        return "vision" not in self._config.train or self._config.lora_rank is not None

    def hash_encoder(self) -> str | None:
        """The hash of the vision encoder's weights, but for adapters; None where they are spread
        over several processes, as those of a trained one are."""
        names = [name for name, parts in self._parts.items() if "vision" in parts]
        return hash_parameters(self._model, names_within_adapters(self._model, names))

    def learn_from(self, score: Score) -> None:
        """Let `score` be the teacher of the student's own answers."""
        self._score = score

    def trainable(self) -> Iterable[nn.Parameter]:
        """The parameters that are learned."""
        return [p for p in self._model.parameters() if p.requires_grad]

    def length(self, example: Example) -> int:
        """Tokens of the longest sequence.

        Raises:
            SampleError: no rationale or no logits, or a sequence that is longer than the model's
                context, or the teacher's: half a rationale is not learned.
        """
        rows = self.rows(example)
        length = max(len(row.ids) for row in rows)
        if self._answers is not None:
            length += self._answers.most - 1
        if self._learns_logits:
            _teacher_logits(example, rows)
        if self.context is not None and length > self.context:
            raise SampleError(f"longer than the context of {self.context} tokens")
        if self._answers is not None and self._score is not None:
            self._score.check(example, self._answers.most)
        if example.sample.images:
            self._image_tokens.add(self.network.image_tokens(rows[0].prompt))
        return length

    def unusable_pictures(self, examples: Sequence[Example]) -> dict[str, str]:
        """Encode the pictures of `examples` together and keep their embeddings, as far as there is
        room; sample id -> why a picture cannot be used."""
        unusable: dict[str, str] = {}
        found: dict[str, list[Image.Image]] = {}
        for example in examples:
            if not example.sample.images:
                continue
            pictures = Pictures(example.sample.images)
            try:
                if self.encoder_is_frozen:
                    found |= self._store.missing([pictures])
                else:
                    pictures.decode()
            except SampleError as error:
                unusable[example.sample.id] = f"{UNUSABLE}: {error}"
        if found:
            self._store.keep(found)
        return unusable

    def encode(self, examples: Sequence[Example]) -> Batch:
        """The examples as one batch."""
        of_each = [(example, self.rows(example)) for example in examples]
        if self._answers is not None:
            of_each = self._answered(of_each)
        rows = [row for _, each in of_each for row in each]
        owned = [example for example, each in of_each for _ in each]
        lengths = [len(row.ids) for row in rows]
        groups = packed(lengths) if self._config.packing else one_by_one(lengths)
        places = {row: number for number, group in enumerate(groups) for row in group}
        pictured = [row for group in groups for row in group if owned[row].sample.images]
        features: Sequence[Tensor] | None = None
        prompts: Sequence[EncodedPrompt] | None = None
        if pictured and self.encoder_is_frozen:
            features = self._store([Pictures(owned[row].sample.images) for row in pictured])
        elif pictured:
            prompts = [
                self.rows.with_pixels(owned[row].sample, rows[row].prefix) for row in pictured
            ]
        return Batch(
            sequences=sequences_of(
                rows, groups, self.network, pad=self._processor.tokenizer.eos_token_id
            ),
            labels=joined_padded([row.labels for row in rows], groups, IGNORED),
            weights=joined_padded([row.weights for row in rows], groups, 0.0),
            teacher=self._teacher(of_each, groups),
            features=features,
            pictured=prompts,
            owners=[places[row] for row in pictured],
            tokens=sum(lengths),
        )

    def loss(self, batch: Batch) -> Tensor:
        """The objective's loss: a mean over the batch's target tokens, by their weights."""
        return self._loss_of(self.module, batch)

    def plain_loss(self, batch: Batch) -> Tensor:
        """The same outside of training: of several processes each computes one of its own."""
        return self._loss_of(self._target_loss, batch)

    def _loss_of(self, module: nn.Module, batch: Batch) -> Tensor:
        images: dict[str, Any] = {"owners": batch.owners}
        if batch.features is not None:
            images["features"] = [each.to(self._device) for each in batch.features]
        if batch.pictured is not None:
            images["pictured"] = batch.pictured
        if (teacher := batch.teacher) is not None:
            images["teacher"] = tuple(
                each.to(self._device) for each in (teacher.ids, teacher.logits)
            )
        loss: Tensor = module(
            batch.sequences.to(self._device),
            batch.labels.to(self._device),
            batch.weights.to(self._device),
            **images,
        )
        return loss

    def answered(self, examples: Sequence[Example]) -> list[tuple[float, bool]]:
        """Of the one target of each example: its mean negative log-likelihood in nats per token,
        and whether the student would write it greedily, to its end."""
        found = []
        for batch in map(self.encode, ([example] for example in examples)):
            moved = batch.sequences.to(self._device)
            features = [each.to(self._device) for each in batch.features or ()]
            with self.autocast():
                hidden = self.network.hidden_states(moved, features, batch.owners)
                labels = batch.labels[0, 1:].to(self._device)
                learned = labels != IGNORED
                logits = self.network.head(hidden[0, :-1][learned]).float()
            losses = nn.functional.cross_entropy(logits, labels[learned])
            right = bool((logits.argmax(-1) == labels[learned]).all())
            found.append((float(losses), right))
        return found

    def shard(self, processes: int) -> None:
        """Spread the parameters over all processes. The frozen encoder stays whole everywhere: it
        is used outside of the passes that all processes do together."""
        named = dict(self._model.named_parameters())
        apart = {
            named[name]
            for name, parts in self._parts.items()
            if self.encoder_is_frozen and name in named and not parts - {"vision", "projector"}
        }
        shard(
            self.module,
            self.network.language.layers,
            apart=apart,
            device=self._device,
            processes=processes,
            dtype=self._autocast,
        )

    def gathered(self) -> AbstractContextManager[None]:
        """The parameters whole, where they are spread; all processes enter it together."""
        return gathered(self._target_loss)

    def autocast(self) -> torch.autocast:
        """The precision that the student computes in."""
        return torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None)

    def learned(self, *, wanted: bool = True) -> dict[str, Tensor]:
        """The trained parameters by name, whole and on the CPU. Where they are spread every process
        must call this, `wanted` or not; those that do not want them get nothing."""
        from torch.distributed.tensor import DTensor

        found = {}
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad:
                tensor = parameter.detach()
                if isinstance(tensor, DTensor):
                    tensor = tensor.full_tensor()
                if wanted:
                    found[name] = tensor.cpu()
        return found

    def export(self, folder: Path, learned: Mapping[str, Tensor] | None = None) -> None:
        """Write the trained weights into a copy of the base: published names, the base's own type,
        its tokenizer and config. What was frozen is the base's to the bit; adapters are merged.

        Args:
            learned: as `learned()` gives it; None: as it is here.
        """
        found = self.learned() if learned is None else learned
        whole = load_unchanged(self.checkpoint)
        parameters = dict(whole.named_parameters())
        with torch.no_grad():
            if self._config.lora_rank is None:
                for name, tensor in found.items():
                    parameters[name].copy_(tensor)
            else:
                for name, delta in adapter_deltas(self._model, found):
                    weight = parameters[f"{name}.weight"]
                    weight.copy_(weight.float() + delta)
        whole.save_pretrained(folder, max_shard_size="10GB")
        for path in sorted(self._base.iterdir()):
            is_weights = path.suffix == ".safetensors" or path.name.endswith("index.json")
            if path.is_file() and path.suffix in SUFFIXES and not is_weights:
                shutil.copyfile(path, folder / path.name)

    def export_adapter(self, folder: Path, learned: Mapping[str, Tensor]) -> None:
        """Write the adapters by themselves, for the base as it was; `learned` as in `export`."""
        save_adapter(folder, self._model, learned, self._config, self._base.name)

    def _freeze(self, model: nn.Module, half: torch.dtype | None) -> None:
        """Freeze what is not trained, in the type `half`; None: as it is."""
        trained = set(self._config.train)
        for name, parameter in model.named_parameters():
            wanted = bool(self._parts[name] & trained)
            parameter.requires_grad_(wanted and parameter.is_floating_point())
        if self._config.lora_rank is not None:
            layers = adapted_layers(model, self._config, self.network.traits)
            add_adapters(model, layers, self._config, rank=self._config.lora_rank)
        if half is not None:
            for parameter in model.parameters():
                if not parameter.requires_grad and parameter.is_floating_point():
                    parameter.data = parameter.data.to(half)

    def _answered(
        self, of_each: Sequence[tuple[Example, Sequence[Row]]]
    ) -> list[tuple[Example, tuple[Row, ...]]]:
        """The same with an answer that the student writes now in each row."""
        assert self._answers is not None
        prompts = [self.rows.with_pixels(example.sample) for example, _ in of_each]
        answers = self._answers(prompts)
        return [
            (example, (row.followed_by(answer),))
            for (example, (row,)), answer in zip(of_each, answers, strict=True)
        ]

    def _teacher(
        self, of_each: Sequence[tuple[Example, Sequence[Row]]], groups: Sequence[Sequence[int]]
    ) -> TopLogits | None:
        """The teacher's logits at the target tokens, in the order of the sequences."""
        if self._answers is not None:
            assert self._score is not None
            whole = [self._score(example, row.answer) for example, (row,) in of_each]
            found = [TopLogits(torch.zeros(len(each), 0), each) for each in whole]
        elif self._learns_logits:
            found = [_teacher_logits(example, rows) for example, rows in of_each]
        else:
            return None
        order = [row for group in groups for row in group]
        return TopLogits(
            torch.cat([found[row].ids for row in order]),
            torch.cat([found[row].logits for row in order]),
        )

    def _feature_store(self, folder: Path, dtype: torch.dtype, *, writers: int) -> FeatureStore:
        """Where the features of pictures are kept."""
        return FeatureStore(
            folder,
            self._encode_images,
            key=self._features_key(),
            width=self.network.width,
            dtype=dtype,
            limit=self._config.feature_cache_gb * 1e9,
            writers=writers,
        )

    def _features_key(self) -> list[object]:
        """What features depend on, apart from their type; the settings of the processor are among
        the weights' files."""
        config = self.network.model.config
        about: dict[str, object] = {"weights": weights_fingerprint(self._base)}
        side = getattr(config.vision_config, "image_size", None)
        if self.network.traits.tokens is None:
            return [about]
        # As earlier versions kept those of Moondream.
        return [about | {"image_size": side}, [config.image_seq_length, self.network.width]]

    @torch.no_grad()
    def _encode_images(self, pictures: Sequence[Sequence[Image.Image]]) -> list[Tensor]:
        """The embeddings of the pictures of each question."""
        return self.network.encode_images([self.rows.with_pictures(each) for each in pictures])


def _teacher_logits(example: Example, rows: Sequence[Row]) -> TopLogits:
    """What the teacher's logits are at the labels of the one row of an example; raises
    SampleError."""
    found = read_logits(example)
    (row,) = rows
    if len(found.ids) != sum(label != IGNORED for label in row.labels):
        raise SampleError("its logits are of another target")
    return found
