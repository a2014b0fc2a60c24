"""What a distillation is set to. Table 3 of the paper, and every choice that it leaves open.

This module alone knows the presets: `paper`, what is printed; `code`, what the published training
script does instead; and `miniature`, for the minis. A field's default is the paper's value; where
the paper is silent, the field says so.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, Self, get_args

from distill.field_checks import (
    BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    check_fields,
    refusal,
)
from distill.field_parsers import names, objective_name, objective_settings
from distill.needs import WRITES
from distill.objectives import OBJECTIVES, objective_of, own_settings, takes
from distill.objectives.structured import STAGES, Stage
from harness.core.declarations import EVALUATION, SAMPLES, TEACHER, TRAINING, Option
from harness.core.errors import HarnessError
from harness.core.options import SampleSelection


def _parts(text: str) -> tuple[str, ...]:
    """Parts with commas between them; `language` stands for the text model's three."""
    parts = [LANGUAGE if name == "language" else (name,) for name in names(text)]
    return tuple(part for each in parts for part in each)


Part = Literal["vision", "projector", "embeddings", "layers", "head"]
"""What can be frozen or trained each on its own. The last three are the language model."""
LANGUAGE: tuple[Part, ...] = ("embeddings", "layers", "head")
TeacherInput = Literal["question", "answer", "lecture", "solution"]
INPUTS: tuple[TeacherInput, ...] = get_args(TeacherInput)
FORMER: Mapping[str, str] = types.MappingProxyType({"target": "objective"})
"""Former name of a field -> its name, for configs and records of earlier versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """Everything that decides what is trained. Raises HarnessError where a value cannot be.

    Of Table 3, decoding is always greedy (section 3.3) and the number of image tokens is the base
    model's own; neither can be chosen.
    """

    # Table 3.
    optimizer: Literal["adam", "adamw", "adam8bit"] = "adam"
    """adam8bit, the published code's, needs bitsandbytes and an NVIDIA GPU."""
    epochs: Annotated[
        int, Option("Passes over the examples. Default: the preset's.", panel=TRAINING)
    ] = 1
    learning_rate: Annotated[
        float, Option("Peak of the learning rate. Default: the preset's.", panel=TRAINING)
    ] = 1.4e-5
    """The peak, reached when the warm-up ends."""
    batch_size: Annotated[
        int, Option("Examples per optimizer step. Default: the preset's.", panel=TRAINING)
    ] = 16
    """Samples per optimizer step, over all processes and micro-batches."""
    accumulation: Annotated[
        int,
        Option(
            "Parts that a batch is computed in, to save memory. Default: the preset's.",
            panel=TRAINING,
        ),
    ] = 1
    """Micro-batches that an optimizer step is made of: each has batch_size / accumulation samples.
    It changes memory, not the result."""
    max_new_tokens: Annotated[
        int,
        Option(
            "Maximum number of tokens of a student's answer. Default: the preset's.",
            panel=EVALUATION,
        ),
    ] = 512
    """Tokens that the student may generate per answer."""

    # Data and teacher: sections 3.1, 4.1 and 4.3.
    samples: Annotated[
        int | None,
        Option(
            "Maximum number of questions to learn from; 0: all. Default: the preset's.",
            panel=SAMPLES,
            flag="limit",
            minimum=0,
        ),
    ] = 2000
    """Questions with an image that are distilled; None: all there are."""
    sample: SampleSelection = "first"
    """first: section 4.3 and the published code; stratified: balanced by topic, section 4.1."""
    teacher_input: Annotated[
        tuple[TeacherInput, ...],
        Option(
            "What the teacher is given in addition to the image, with commas between: question, "
            "answer, lecture, solution. Default: the preset's.",
            panel=TEACHER,
            given=str,
            parse=names,
            needs=(WRITES,),
        ),
    ] = INPUTS
    """In addition to the image: question and answer in section 3.1, all four in section 4.1."""

    # Objective: section 3.2.
    objective: Annotated[
        str,
        Option(
            f"What the student learns to write, and by which loss: {', '.join(OBJECTIVES)}. "
            "Default: structured.",
            panel=TRAINING,
            parse=objective_name,
        ),
    ] = "structured"
    """See `distill.objectives`; the paper's is structured."""
    objective_settings: Annotated[
        Mapping[str, Any],
        Option(
            "NAME=VALUE of a setting of the objective's own, such as rationale_weight=0.5 of "
            "multitask or temperature=4 of logits. Default: the objective's.",
            panel=TRAINING,
            flag="objective-set",
            given=list[str],
            parse=objective_settings,
        ),
    ] = field(default_factory=dict, hash=False)
    """The settings that the objective has and this class has not."""
    without: Annotated[
        tuple[Stage, ...],
        Option(
            "Stages to leave out of the target, with commas between: summary, caption, reasoning. "
            "Default: none.",
            panel=TRAINING,
            given=str,
            parse=names,
        ),
    ] = ()
    """Stages left out of the target, for ablations."""
    repeat_options: Annotated[
        bool,
        Option(
            "Let the student repeat the options between its reasoning and its conclusion.",
            panel=TRAINING,
        ),
    ] = False
    summary_weight: float = 1.0
    """A token's weight in the loss; with all four weights at 1 it is equation 1."""
    caption_weight: float = 1.0
    reasoning_weight: float = 1.0
    conclusion_weight: float = 1.0

    # Optimization: the paper names Adam alone; the rest is the published code's.
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-6
    weight_decay: float = 0.0
    """Decoupled, per step, as a share of the learning rate; adamw only."""
    warmup: float = 0.1
    """Share of all steps in which the rate rises, linearly."""
    floor: float = 0.1
    """Share of the peak at which the warm-up begins and the cosine ends."""
    cosine: Literal["full", "cut"] = "full"
    """full: the cosine reaches the floor with the last step. cut, the published code's: it is drawn
    over as many steps but begins at the warm-up's end, so it stops at 0.122 of the peak."""
    rate_set: Literal["before", "after"] = "before"
    """Whether the rate of step n of N is the schedule at n / N, or, set after the step as in the
    published code, at (n - 1) / N."""
    clip: float | None = None
    """The largest norm of the whole gradient; None: not clipped, as in the published code."""

    # What is trained: section 4.3.
    train: Annotated[
        tuple[Part, ...],
        Option(
            "Parts to train, with commas between: vision, projector, language, or of the last one "
            "embeddings, layers, head; the others are frozen. Default: language.",
            panel=TRAINING,
            given=str,
            parse=_parts,
            flag="train-parts",
        ),
    ] = LANGUAGE
    """Everything else is frozen."""
    lora_rank: Annotated[
        int | None,
        Option(
            "Train LoRA adapters of this rank in place of the weights. Default: none.",
            panel=TRAINING,
        ),
    ] = None
    """Rank of adapters on the linear layers of the trained parts, which are then frozen themselves;
    None: full-parameter training, as in the paper."""
    lora_targets: Annotated[
        tuple[str, ...] | None,
        Option(
            "Linear layers to adapt with --lora-rank, by the last part of their names, with commas "
            "between: q_proj,v_proj. Default: those of attention and MLP in the parts to train.",
            panel=TRAINING,
            given=str,
            parse=names,
        ),
    ] = None
    lora_alpha: float = 16.0
    """An adapter's output is multiplied by lora_alpha / lora_rank."""
    lora_dropout: float = 0.0

    quantize: Annotated[
        Literal["nf4"] | None,
        Option(
            "With --lora-rank: hold the frozen language model in 4 bits while adapters are trained "
            "(QLoRA); needs bitsandbytes and an NVIDIA GPU. Default: none.",
            panel=TRAINING,
            given=str,
        ),
    ] = None
    """nf4: QLoRA (Dettmers et al., 2023). The adapter is merged into the base's own weights."""

    # How it is computed; the paper does not say.
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"],
        Option("Type that training computes in. Default: the preset's.", panel=TRAINING),
    ] = "bfloat16"
    """bfloat16: products in bfloat16, trained weights and their moments in float32; float16: the
    same in float16, with `loss_scaling`."""
    loss_scaling: bool = True
    """In float16: the loss is scaled so that small gradients do not become 0. false, the published
    code's: it is not, and trained weights are in float16 too; adam8bit only, since the moments of
    other optimizers become 0 there."""
    bucket: int = 1
    """Batches whose samples are sorted by length together, so that batches need less padding;
    1: no sorting."""
    seed: Annotated[
        int,
        Option(
            "Seed of --sample stratified, of sampled attempts, and of training. Default: 0.",
            panel=SAMPLES,
            minimum=0,
        ),
    ] = 0
    """Of the data's order and of dropout."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    packing: Annotated[
        bool,
        Option(
            "Put several short examples of a batch into one sequence, without attention between "
            "them: less padding.",
            panel=TRAINING,
        ),
    ] = False
    """It changes time and memory, not the loss."""
    logits_at_once: int | None = None
    """Target tokens whose logits over the vocabulary are computed at once, and again for the
    gradient: less memory, not another loss. None: all of a micro-batch."""
    parallel: Annotated[
        Literal["ddp", "fsdp2"],
        Option(
            "With torchrun: each process holds the whole model (ddp), or a part of it (fsdp2). "
            "Default: ddp.",
            panel=TRAINING,
        ),
    ] = "ddp"
    """How several processes hold the model. ddp: each all of it; fsdp2: weights, gradients and
    moments of what is trained are spread over them."""

    # Evaluation while it trains; the paper has none.
    eval_every: Annotated[
        int | None,
        Option(
            "Optimizer steps between evaluations on validation questions; the best student is "
            "kept. Default: none.",
            panel=TRAINING,
        ),
    ] = None
    """Optimizer steps between evaluations, and one after the last step; the student is then the
    best by validation. None: no evaluation, and the student is that of the last step."""
    eval_limit: Annotated[
        int,
        Option("Validation questions, at most. Default: 64.", panel=TRAINING),
    ] = 64
    """Of the validation split or, where there is none, at most a tenth of the questions to learn,
    which are held out."""
    eval_patience: Annotated[
        int | None,
        Option(
            "With --eval-every: end training after so many evaluations without a better student. "
            "Default: train to the last step.",
            panel=TRAINING,
        ),
    ] = None
    best_by: Literal["score", "loss"] = "score"
    """What makes a student the best one. score: the task's first metric and, of equal ones, the
    loss; loss: the objective's own loss on the validation questions."""

    # Housekeeping.
    checkpoint_every: Annotated[
        int, Option("Optimizer steps between checkpoints. Default: the preset's.", panel=TRAINING)
    ] = 50
    """Optimizer steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept on disk."""
    feature_cache_gb: float = 8.0
    """Disk, in GB of 1e9 bytes, that frozen image features may take; images beyond it are encoded
    again in every epoch. 0: no cache."""

    def __post_init__(self) -> None:
        check_fields(self, _RANGES)
        for name in ("teacher_input", "without", "train", "lora_targets"):
            value = getattr(self, name) or ()
            if len(set(value)) != len(value):
                raise refusal(name, value, "It names something twice.")
        if not self.train:
            raise refusal("train", self.train, "Nothing would be trained.")
        if self.batch_size % self.accumulation:
            raise refusal(
                "accumulation", self.accumulation, f"It must divide batch_size, {self.batch_size}."
            )
        if self.quantize is not None and self.lora_rank is None:
            raise refusal("quantize", self.quantize, "Weights in 4 bits need lora_rank.")
        if self.lora_targets is not None and self.lora_rank is None:
            raise refusal("lora_targets", self.lora_targets, "It needs lora_rank.")
        if self.eval_every is None and self.eval_patience is not None:
            raise refusal("eval_patience", self.eval_patience, "It needs eval_every.")
        if self.all_in_float16 and self.optimizer != "adam8bit":
            raise refusal(
                "loss_scaling",
                self.loss_scaling,
                f"In float16 the moments of {self.optimizer} become 0 without it.",
            )
        if self.parallel == "fsdp2" and self.optimizer == "adam8bit":
            raise refusal("parallel", self.parallel, "8-bit Adam needs each tensor whole.")
        objective_of(self)  # refuses its name, or one of its settings
        if self.without and not takes(self.objective, "without"):
            raise refusal(
                "without", self.without, f"The targets of {self.objective} have no stages."
            )
        if self.repeat_options and not takes(self.objective, "repeat_options"):
            raise refusal(
                "repeat_options", True, f"The targets of {self.objective} have no conclusion."
            )

    @property
    def all_in_float16(self) -> bool:
        """Whether trained weights and gradients are in float16, without loss scaling."""
        return self.precision == "float16" and not self.loss_scaling

    @property
    def micro_batch_size(self) -> int:
        """Samples per forward pass, over all processes."""
        return self.batch_size // self.accumulation

    def with_objective(self, name: str, **changes: Any) -> DistillConfig:
        """The same with another objective, as it is without settings, and `changes`: a control that
        learns letters, for one, is trained best at a rate and for a time of its own. Raises
        HarnessError."""
        plain = {"objective_settings": {}, "without": [], "repeat_options": False}
        kept = {**self.to_json(), "objective": name, **plain}
        return DistillConfig.from_json({**kept, **changes})

    def outcome(self) -> dict[str, Any]:
        """The fields that decide what training gives from the same examples: with others, a run
        that was begun cannot be continued."""
        kept = {k: v for k, v in self.to_json().items() if k not in _NO_OUTCOME}
        # What records of earlier versions do not have is None.
        scaled = self.precision == "float16" and self.loss_scaling
        return kept | {
            "objective_settings": own_settings(objective_of(self), self) or None,
            "loss_scaling": scaled or None,
            **(dict.fromkeys(_EVALUATION) if self.eval_every is None else {}),
            "repeat_options": self.repeat_options or None,
        }

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The config that `to_json` wrote; fields that are left out have their defaults.

        Raises:
            HarnessError: a field is unknown or cannot have its value.
        """
        data = {FORMER.get(name, name): value for name, value in data.items()}
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise HarnessError(
                f"A distillation has no setting {unknown[0]!r}.",
                known=f"It has {', '.join(f.name for f in fields(cls))}.",
            )
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**given)


# Who is asked, and what costs time, memory or disk only: the examples themselves are compared.
_NO_OUTCOME = frozenset(
    [
        *("max_new_tokens", "samples", "sample", "teacher_input"),
        *("accumulation", "gradient_checkpointing", "packing", "logits_at_once", "parallel"),
        *("checkpoint_every", "keep_checkpoints", "feature_cache_gb"),
    ]
)

_EVALUATION = ("eval_every", "eval_limit", "eval_patience", "best_by")
"""Fields that decide nothing where there is no evaluation."""

_RANGES: Mapping[str, Range] = types.MappingProxyType(
    {
        "epochs": POSITIVE,
        "learning_rate": POSITIVE,
        "batch_size": POSITIVE,
        "accumulation": POSITIVE,
        "max_new_tokens": POSITIVE,
        "samples": POSITIVE,
        **dict.fromkeys((f"{stage}_weight" for stage in (*STAGES, "conclusion")), NOT_NEGATIVE),
        "beta1": BELOW_ONE,
        "beta2": BELOW_ONE,
        "epsilon": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
        "warmup": BELOW_ONE,
        "floor": SHARE,
        "clip": POSITIVE,
        "lora_rank": POSITIVE,
        "logits_at_once": POSITIVE,
        "lora_alpha": POSITIVE,
        "lora_dropout": BELOW_ONE,
        "bucket": POSITIVE,
        "seed": NOT_NEGATIVE,
        "eval_every": POSITIVE,
        "eval_limit": POSITIVE,
        "eval_patience": POSITIVE,
        "checkpoint_every": POSITIVE,
        "keep_checkpoints": POSITIVE,
        "feature_cache_gb": NOT_NEGATIVE,
    }
)


def preset(name: str, **changes: Any) -> DistillConfig:
    """The preset `name` with `changes`, which are fields of DistillConfig.

    Raises:
        HarnessError: there is no such preset or field, or a value cannot be.
    """
    if name not in PRESETS:
        raise HarnessError(f"No preset {name!r}.", known=f"There are {', '.join(PRESETS)}.")
    if set(changes) <= {f.name for f in fields(DistillConfig)}:
        return replace(PRESETS[name], **changes)
    return DistillConfig.from_json({**PRESETS[name].to_json(), **changes})  # names the field


PRESETS: Mapping[str, DistillConfig] = types.MappingProxyType(
    {
        "paper": DistillConfig(),
        # The published script. It links its batch of 8 to the paper's learning rate by a factor of
        # 1.4, the root of two.
        "code": DistillConfig(
            optimizer="adam8bit",
            learning_rate=1e-5,
            batch_size=8,
            cosine="cut",
            rate_set="after",
            precision="float16",
            loss_scaling=False,
        ),
        # For minis, a thousandth of the size. The teacher is shown the question alone, as it was
        # trained.
        "miniature": DistillConfig(
            optimizer="adamw",
            samples=6300,
            epochs=3,
            learning_rate=2e-3,
            batch_size=32,
            clip=1.0,
            bucket=8,
            precision="float32",
            max_new_tokens=320,
            teacher_input=("question",),
        ),
    }
)
