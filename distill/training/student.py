"""The student: what the training loop needs of a model, and Moondream as one.

This module alone knows the parts of the model, which of them are frozen, and how batches are
padded: on the right, with the end token.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from distill.config import DistillConfig, Part
from distill.examples import Example
from distill.objectives import objective_of
from distill.objectives.objective import Objective, TargetTokens, TopLogits
from distill.rationales.logits import read_logits
from distill.training.features import FeatureStore
from distill.training.lora import adapted_layers, adapter_deltas, add_adapters, save_adapter
from distill.training.tokens import IGNORED, Row, row_maker
from harness.checkpoints.folder import SUFFIXES, weights_fingerprint
from harness.core.errors import SampleError
from harness.core.types import Task

PARTS: Mapping[Part, tuple[str, ...]] = {
    "vision": ("model.vision_tower",),
    "projector": ("model.projector",),
    "embeddings": ("model.language_model.embed_tokens",),
    "layers": ("model.language_model.layers", "model.language_model.final_layernorm"),
    "head": ("lm_head",),
}
"""Every parameter of Moondream lies in one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples of one forward pass, padded on the right."""

    ids: Tensor
    """(B, L)"""
    labels: Tensor
    """(B, L); IGNORED where nothing is learned."""
    weights: Tensor
    """(B, L), in float32."""
    features: Tensor | None = None
    """(N, T, D): embeddings of the N pictures, in order; None where there are none or where the
    encoder is trained."""
    teacher: TopLogits | None = None
    """(B, L, K), at the places of the labels, 0 elsewhere; None where the objective needs none."""
    pixels: Mapping[str, Tensor] | None = None
    """The processor's pixel_values and image_grids, where the encoder is trained."""
    tokens: int
    """Length of all sequences, padding left out."""

    @property
    def weight(self) -> float:
        """The sum of the weights of all target tokens: what the batch's mean loss stands for."""
        return float(self.weights.sum())

    @property
    def targets(self) -> int:
        """Target tokens."""
        return int((self.labels != IGNORED).sum())

    def muted(self) -> Batch:
        """The same with nothing to learn: its loss is 0."""
        return replace(
            self,
            labels=torch.full_like(self.labels, IGNORED),
            weights=torch.zeros_like(self.weights),
            tokens=0,
        )


class Student(Protocol):
    """What the training loop needs, and no more."""

    module: nn.Module
    """Computes the loss; accelerate may put a wrapper around it."""

    def trainable(self) -> Iterable[nn.Parameter]:
        """The parameters that are learned."""

    def length(self, example: Example) -> int:
        """Tokens of its longest sequence; raises SampleError where the example cannot be used."""

    def unusable_pictures(self, examples: Sequence[Example]) -> Mapping[str, str]:
        """Why pictures cannot be used, by sample id; what can be computed of the others once is."""

    def encode(self, examples: Sequence[Example]) -> Batch: ...

    def loss(self, batch: Batch) -> Tensor:
        """The objective's loss: a mean over the batch's target tokens, by their weights."""

    def shard(self, processes: int) -> None:
        """Spread what is trained over all processes."""

    def learned(self, *, wanted: bool = True) -> Mapping[str, Tensor]:
        """The trained parameters by name, whole and on the CPU. Where they are spread every process
        must call this, `wanted` or not; those that do not want them get nothing."""

    def export(self, folder: Path, learned: Mapping[str, Tensor] | None = None) -> None:
        """Write a checkpoint in the base's own layout and type; `learned` as `learned()` gives it,
        None: as it is here."""


class TargetLoss(nn.Module):
    """The objective's loss, with logits computed where there are labels and nowhere else."""

    def __init__(
        self, model: nn.Module, objective: Objective, autocast: torch.dtype | None
    ) -> None:
        super().__init__()
        self.model = model
        self._objective = objective
        self._autocast = autocast

    def forward(
        self,
        ids: Tensor,
        labels: Tensor,
        weights: Tensor,
        teacher: tuple[Tensor, Tensor] | None = None,
        **images: Any,
    ) -> Tensor:
        """See `distill.objectives.objective.Objective.loss`."""
        model: Any = self.model
        with torch.autocast(ids.device.type, self._autocast, enabled=self._autocast is not None):
            # Without a mask: padding comes last, where causal attention never looks,
            # and the kernels for plain causal attention are the fastest.
            hidden = model.model(input_ids=ids, use_cache=False, **images).last_hidden_state
            learned = labels[:, 1:] != IGNORED  # (B, L - 1)
            logits = model.lm_head(hidden[:, :-1][learned])  # (targets, vocabulary)
        return self._objective.loss(
            TargetTokens(
                logits=logits,
                labels=labels[:, 1:][learned],
                weights=weights[:, 1:][learned],
                teacher=TopLogits(*(each[:, 1:][learned] for each in teacher)) if teacher else None,
            )
        )


class MoondreamStudent:
    """Moondream, from a folder in its published layout."""

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
            HarnessError: LoRA has nothing to adapt.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor

        import harness.models  # noqa: F401  # makes Moondream known to the auto classes
        from harness.checkpoints import pretrained

        self._base = base
        self._config = config
        self._device = torch.device(device)
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(config.precision)
        self._autocast = None if config.all_in_float16 else half
        kept = half if config.all_in_float16 else torch.float32
        model: Any = pretrained.load_model(AutoModelForImageTextToText, base, dtype=kept)
        self._processor: Any = pretrained.load(AutoProcessor, base)
        objective = objective_of(config)
        self.rows = row_maker(self._processor, base, objective, task)
        """From an example to its tokens, a row for each target."""
        self.context: int = model.config.text_config.max_position_embeddings
        """Tokens that a sequence may have."""
        self._freeze(model, half)
        if model.config.text_config.hidden_act == "gelu_new":
            # The same function in one kernel, and without its seven intermediate results.
            for layer in model.model.language_model.layers:
                layer.mlp.activation_fn = nn.GELU(approximate="tanh")
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.to(self._device).train()
        self._model = model
        self.module: nn.Module = TargetLoss(model, objective, self._autocast)
        side: int = model.config.vision_config.image_size
        self._store = FeatureStore(
            features,
            self._encode_images,
            key={"weights": weights_fingerprint(base), "image_size": side},
            shape=(model.config.image_seq_length, model.config.text_config.hidden_size),
            dtype=half or torch.float32,
            limit=config.feature_cache_gb * 1e9,
            writers=processes,
        )

    @property
    def image_tokens(self) -> int:
        """Tokens that stand for one picture: 729 for the published model."""
        return int(self._model.config.image_seq_length)

    @property
    def _learns_logits(self) -> bool:
        return objective_of(self._config).top_logits > 0

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether each image needs encoding only once."""
        return not {"vision", "projector"} & set(self._config.train)

    def trainable(self) -> Iterable[nn.Parameter]:
        return [p for p in self._model.parameters() if p.requires_grad]

    def length(self, example: Example) -> int:
        """Tokens of the longest sequence.

        Raises:
            SampleError: no rationale or no logits, or a sequence that is longer than the model's
                context: half a rationale is not learned.
        """
        rows = self.rows(example)
        length = max(len(row.ids) for row in rows)
        if self._learns_logits:
            _teacher_logits(example, rows)
        if length > self.context:
            raise SampleError(f"longer than the context of {self.context} tokens")
        return length

    def unusable_pictures(self, examples: Sequence[Example]) -> dict[str, str]:
        """Encode the pictures of `examples` together and keep their embeddings, as far as there is
        room; sample id -> why a picture cannot be used."""
        unusable: dict[str, str] = {}
        pictures: dict[str, Image.Image] = {}
        for example in examples:
            try:
                if self.encoder_is_frozen:
                    pictures |= self._store.missing(example.sample.images)
                else:
                    for image in example.sample.images:
                        image.decode()
            except SampleError as error:
                unusable[example.sample.id] = f"its picture cannot be used: {error}"
        if pictures:
            self._store.keep(pictures)
        return unusable

    def encode(self, examples: Sequence[Example]) -> Batch:
        of_each = [self.rows(example) for example in examples]
        rows = [row for each in of_each for row in each]
        images = [
            image
            for example, each in zip(examples, of_each, strict=True)
            for image in example.sample.images * len(each)
        ]
        features: Tensor | None = None
        pixels: Mapping[str, Tensor] | None = None
        if images and self.encoder_is_frozen:
            features = torch.stack(self._store(images))
        elif images:
            pictures = [image.decode() for image in images]
            pixels = dict(self._processor.image_processor.preprocess(pictures, return_tensors="pt"))
        return Batch(
            ids=_padded([row.ids for row in rows], self._processor.tokenizer.eos_token_id),
            labels=_padded([row.labels for row in rows], IGNORED),
            weights=_padded([row.weights for row in rows], 0.0),
            teacher=self._teacher(examples, of_each) if self._learns_logits else None,
            features=features,
            pixels=pixels,
            tokens=sum(len(row.ids) for row in rows),
        )

    def loss(self, batch: Batch) -> Tensor:
        images = dict(batch.pixels or {})
        if batch.features is not None:
            images["image_features"] = batch.features
        on_device: dict[str, Any] = {n: tensor.to(self._device) for n, tensor in images.items()}
        if (teacher := batch.teacher) is not None:
            on_device["teacher"] = tuple(
                each.to(self._device) for each in (teacher.ids, teacher.logits)
            )
        loss: Tensor = self.module(
            batch.ids.to(self._device),
            batch.labels.to(self._device),
            batch.weights.to(self._device),
            **on_device,
        )
        return loss

    def shard(self, processes: int) -> None:
        """Spread the parameters over all processes (FSDP2), layer by layer: a layer's are together
        only while it computes. In half precision they travel in it, and gradients are summed in
        float32. The frozen encoder stays whole everywhere: it is used outside of the passes that
        all processes do together."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        model: Any = self._model
        apart = PARTS["vision"] + PARTS["projector"] if self.encoder_is_frozen else ()
        named = self._model.named_parameters()
        how: dict[str, Any] = {
            "mesh": init_device_mesh(self._device.type, (processes,)),
            "ignored_params": {p for name, p in named if name.startswith(apart)} if apart else None,
        }
        of_layers = MixedPrecisionPolicy(
            param_dtype=self._autocast,
            reduce_dtype=torch.float32 if self._autocast else None,
            cast_forward_inputs=False,  # between layers autocast keeps float32, as unsharded
        )
        for layer in model.model.language_model.layers:
            fully_shard(layer, mp_policy=of_layers, **how)
        fully_shard(self.module, **how)

    def learned(self, *, wanted: bool = True) -> dict[str, Tensor]:
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
        its tokenizer and config. What was frozen is the base's to the bit; adapters are merged."""
        from transformers import AutoModelForImageTextToText

        from harness.checkpoints import pretrained

        found = self.learned() if learned is None else learned
        whole: Any = pretrained.load_model(AutoModelForImageTextToText, self._base, dtype="auto")
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
        prefixes = tuple(f"{name}." for part in self._config.train for name in PARTS[part])
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(prefixes))
        if self._config.lora_rank is not None:
            layers = adapted_layers(model, self._config, prefixes)
            add_adapters(model, layers, self._config, rank=self._config.lora_rank)
        if half is not None:
            for parameter in model.parameters():
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(half)

    @staticmethod
    def _teacher(examples: Sequence[Example], rows: Sequence[Sequence[Row]]) -> TopLogits:
        """The teacher's logits at the labels of each row."""
        found = [_teacher_logits(*each) for each in zip(examples, rows, strict=True)]
        longest = max(len(row.ids) for (row,) in rows)
        shape = (len(found), longest, found[0].ids.shape[1])
        ids, logits = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.float16)
        for place, (each, (row,)) in enumerate(zip(found, rows, strict=True)):
            end = len(row.ids)  # the target comes last
            ids[place, end - len(each.ids) : end] = each.ids
            logits[place, end - len(each.ids) : end] = each.logits
        return TopLogits(ids, logits)

    @torch.no_grad()
    def _encode_images(self, images: Sequence[Image.Image]) -> list[Tensor]:
        """The embeddings of each picture, (T, D)."""
        inputs = self._processor.image_processor.preprocess(list(images), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device)
        features: Tensor = self._model.get_image_features(pixels, inputs["image_grids"])
        return list(features)


def _teacher_logits(example: Example, rows: Sequence[Row]) -> TopLogits:
    """What the teacher's logits are at the labels of the one row of an example; raises
    SampleError."""
    found = read_logits(example)
    (row,) = rows
    if len(found.ids) != sum(label != IGNORED for label in row.labels):
        raise SampleError("its logits are of another target")
    return found


def _padded(rows: Sequence[Sequence[float]], value: float) -> Tensor:
    """(B, L) of the longest row; whole numbers stay such."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
