"""Students of the families: their loss, what is frozen, and the folder that they leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import harness.models  # noqa: F401  # makes the project's own classes known to the auto classes
from distill.config import DistillConfig, preset
from distill.examples import Example
from distill.training.base_model import load_options
from distill.training.network import part_of
from distill.training.requirements import check_base, check_packages
from distill.training.student import Student
from distill.training.tokens import asked_as
from distill.training.train import train
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import HarnessError
from harness.core.images import ImageRef
from harness.core.structured import Rationale
from harness.core.types import Decoding, Sample
from harness.families import family_of
from harness.families.engine_traits import CrossAttention
from harness.models.loading import LoadOptions, load
from tasks.scienceqa import TASK
from tests.families.checkpoint import build
from tests.families.dozen import DOZEN

FP32 = preset("paper", precision="float32", learning_rate=1e-3, batch_size=2)
OWN = ("llava", "llava-next", "phi-3.5", "llava-cot", "kosmos-2", "idefics3")
"""Families whose tiny checkpoints the project builds; the others are the tests' own."""
OTHERS = ("smolvlm", "qwen2_vl", "qwen3_vl", "paligemma", "internvl")
QUICK = ("llava-cot", "qwen2_vl")
"""One of each kind: cross-attention, positions in three dimensions, a prompt that attends to
itself. Plain features in the sequence are Moondream's too."""
EVERY = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.families)
    for name in (*OWN, *OTHERS)
]


@pytest.fixture(scope="module")
def base(
    tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """`base(name)` is the folder of a tiny checkpoint; not to be written to."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name in OWN or name == "moondream":
            return tiny(name)
        if name not in made:
            made[name] = build(DOZEN[name], tmp_path_factory.mktemp("bases") / name)
        return made[name]

    return get


def picture(width: int, height: int) -> ImageRef:
    import io

    file = io.BytesIO()
    ramp = Image.linear_gradient("L").resize((width, height))
    Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180))).save(file, "PNG")
    return ImageRef(f"{width}x{height}.png", file.getvalue)


def example(number: int, size: tuple[int, int] | None) -> Example:
    return Example(
        Sample(
            id=str(number),
            question="Which of these? " * (1 + number),
            target=1,
            choices=("x", "y"),
            images=(picture(*size),) if size else (),
        ),
        Rationale("What it asks. " * number, "A map.", "Because of this.", "B"),
    )


EXAMPLES = [example(0, (64, 48)), example(1, (33, 90)), example(2, (64, 48)), example(3, None)]
LONG = replace(example(4, (64, 48)), rationale=Rationale("It asks. " * 30, "A map.", "So.", "B"))
UNPACKED = ("llava-cot", "kosmos-2")
"""Whose rows cannot be kept apart in one sequence."""


def usable(student: Student) -> list[Example]:
    """Some families need a picture."""
    needed = student.network.family.needs_image
    return [e for e in (*EXAMPLES, LONG) if e.sample.images or not needed]


def plain_losses(student: Student, examples: list[Example]) -> list[float]:
    """The negative log-likelihood of each target token by the library's own forward pass of each
    example alone, from pixels."""
    from transformers import AutoModelForImageTextToText

    family, folder = student.network.family, student._base
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    if family.repair:
        family.repair(model, student._processor, find_checkpoint(str(folder)))
    losses = []
    for each in examples:
        (row,) = student.rows(each)
        inputs = dict(student.rows.with_pixels(each.sample).with_tokens(row.answer).inputs)
        if "token_type_ids" in inputs:  # PaliGemma's answer sees only what is before it
            inputs["token_type_ids"][:, -len(row.answer) :] = 1
        network = model if "pixel_values" in inputs else getattr(model, "text_model", model)
        with torch.no_grad():
            logits = network(**inputs, use_cache=False).logits[0].double().log_softmax(-1)
        start = len(row.ids) - len(row.answer) - 1
        losses += [-float(logits[start + i, token]) for i, token in enumerate(row.answer)]
    return losses


@pytest.mark.parametrize("name", EVERY)
def test_the_loss_is_that_of_a_plain_forward_pass(
    base: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    """Equation 1 over the same tokens: padded, with features that were kept; and packed, with logits
    in parts and the encoder in training."""
    student = Student(base(name), FP32, TASK, features=tmp_path)
    examples = usable(student)
    losses = plain_losses(student, examples)
    expected = pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert not student.unusable_pictures(examples)
    assert student.loss(student.encode(examples)).item() == expected
    parts: Any = ("vision", "projector")
    config = replace(FP32, packing=name not in UNPACKED, logits_at_once=5, train=parts)
    other = Student(base(name), config, TASK, features=tmp_path)
    batch = other.encode(examples)
    assert (len(batch.ids) < len(examples)) is config.packing
    loss = other.loss(batch)
    assert loss.item() == expected
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in other.trainable())


@pytest.mark.parametrize("name", ["smolvlm", pytest.param("llava-cot", marks=pytest.mark.families)])
def test_what_is_trained_on_is_what_is_asked(
    base: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    """The tokens before the target are those that the evaluation of the student sends."""
    for objective in ("structured", "answer"):
        config = replace(FP32, objective=objective)
        student = Student(base(name), config, TASK, features=tmp_path)
        asked = asked_as(base(name), student.module._objective)
        found = find_checkpoint(asked.model, weights=asked.weights)
        model: Any = load(found, LoadOptions(device="cpu", dtype="float32"))
        style: Any = asked.style or "direct"
        (prompt,) = model.prepare([TASK.prompt(EXAMPLES[1].sample, style)])
        (row,) = student.rows(EXAMPLES[1])
        sent = prompt.inputs["input_ids"][0].tolist()
        assert list(row.ids[: len(sent)]) == sent
        assert row.labels[len(sent)] != -100 == row.labels[len(sent) - 1]


def test_a_target_begins_without_a_space_after_a_line_break(
    base: Callable[..., Path], tmp_path: Path
) -> None:
    """As a model with a chat template writes it; after `Answer:` a space comes first."""
    config = replace(FP32, objective="answer")
    for name, text in (("phi-3.5", "B"), ("moondream", " B")):
        student = Student(base(name), config, TASK, features=tmp_path)
        (row,) = student.rows(EXAMPLES[0])
        assert student._processor.tokenizer.decode(row.answer[:-1]) == text


@pytest.mark.parametrize(
    "name", ["qwen2_vl", pytest.param("llava-cot", marks=pytest.mark.families)]
)
def test_a_trained_student(base: Callable[..., Path], name: str, tmp_path: Path) -> None:
    """Its encoder is the base's to the bit and said to be; it loads in transformers and here, with
    all other files of its base."""
    from transformers import AutoModelForImageTextToText

    out = tmp_path / "run"
    student = train(EXAMPLES[:2], base=base(name), out=out, config=FP32)
    record = json.loads((out / "distill.json").read_text())
    encoder = record["encoder"]
    assert encoder["frozen"]
    assert encoder["before"] == encoder["after"]
    before, after = (
        dict(AutoModelForImageTextToText.from_pretrained(f, dtype="auto").named_parameters())
        for f in (base(name), student)
    )
    traits = Student(base(name), FP32, TASK, features=tmp_path).network.traits
    changed = {part_of(n, traits) for n, p in after.items() if not torch.equal(p, before[n])}
    assert changed == {"embeddings", "layers", "head"}
    kept = {path.name for path in base(name).iterdir()} - {"model.safetensors"}
    assert all((student / n).read_bytes() == (base(name) / n).read_bytes() for n in kept)
    assert "Left out: none" in (student / "README.md").read_text()
    model = load(find_checkpoint(str(student)), LoadOptions(device="cpu", dtype="float32"))
    assert model.description["class"] == type(model.network).__name__


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vilt", "ViLT, which cannot be trained as a student: one encoder reads words and picture"),
        ("gemma3", "is a gemma3, which cannot be trained as a student: which of its modules"),
    ],
)
def test_what_cannot_be_a_student(
    tiny: Callable[..., Path], tmp_path: Path, name: str, words: str
) -> None:
    """It is refused with the reason, and with the families that can."""
    folder = tiny("vilt") if name == "vilt" else build(DOZEN[name], tmp_path / name)
    with pytest.raises(HarnessError) as caught:
        check_base(folder)
    assert words in str(caught.value)
    assert "Students can be" in str(caught.value)
    assert "Qwen-VL" in str(caught.value)


def test_packing_is_refused_where_examples_cannot_be_kept_apart(
    base: Callable[..., Path], tmp_path: Path
) -> None:
    """Cross-attention would look at the pictures of others."""
    with pytest.raises(HarnessError, match=r"Llama 3\.2 Vision cannot keep the examples"):
        Student(base("llava-cot"), replace(FP32, packing=True), TASK, features=tmp_path)


def test_language_is_three_parts() -> None:
    """`--train-parts language` is what is trained by default."""
    from distill.config import LANGUAGE, _parts

    assert _parts("projector, language") == ("projector", *LANGUAGE)
    assert DistillConfig().train == LANGUAGE


def test_features_of_several_depths_and_cross_attention_are_kept(
    base: Callable[..., Path], tmp_path: Path
) -> None:
    """Qwen3-VL's lie side by side; those of Llama 3.2 Vision are tiles of patches."""
    for name in ("qwen3_vl", "llava-cot"):
        student = Student(base(name), FP32, TASK, features=tmp_path / name)
        student.unusable_pictures(EXAMPLES[:2])
        (file,) = (tmp_path / name).rglob("*.safetensors")
        shapes = [each.shape for each in load_file(file).values()]
        width = student.network.width
        if isinstance(student.network.images, CrossAttention):
            assert all(len(shape) == 3 and shape[-1] == width for shape in shapes)
        else:
            assert all(shape[-1] > width and shape[-1] % width == 0 for shape in shapes)


@pytest.mark.parametrize("name", ["smolvlm", pytest.param("kosmos-2", marks=pytest.mark.families)])
@pytest.mark.slow
def test_an_adapter_answers_merged_and_apart(
    base: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    """LoRA on attention and MLP by default, never on the head; in float32 the answers are equal."""
    pytest.importorskip("peft")
    config = replace(FP32, lora_rank=2, learning_rate=5e-2, epochs=3)
    out = tmp_path / "run"
    student = train(EXAMPLES[:2], base=base(name), out=out, config=config)
    adapted = json.loads((out / "adapter" / "adapter_config.json").read_text())["target_modules"]
    kinds = {each.rpartition(".")[2] for each in adapted}
    assert {"q_proj", "k_proj", "v_proj"} < kinds
    assert kinds & {"fc1", "up_proj"}
    assert not any("head" in each or "vision" in each for each in adapted)
    found = []
    for checkpoint in (
        find_checkpoint(str(student)),
        find_checkpoint(str(base(name)), lora=out / "adapter"),
        find_checkpoint(str(base(name))),
    ):
        model: Any = load(checkpoint, LoadOptions(device="cpu", dtype="float32"))
        prepared = model.prepare([TASK.prompt(each.sample, "direct") for each in EXAMPLES[:2]])
        found.append([o.raw for o in model.generate(prepared, Decoding(max_new_tokens=12))])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.families),
        {"lora_rank": 2, "lora_targets": ("q_proj",)},
    ],
    ids=str,
)
@pytest.mark.slow
def test_a_resumed_run_is_the_same(
    base: Callable[..., Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Curve and weights of a run that was cut after its first step."""
    config = replace(FP32, epochs=2, checkpoint_every=1, keep_checkpoints=3, **changes)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(EXAMPLES[:2], base=base("qwen2_vl"), out=whole, config=config)
    shutil.copytree(whole, cut)
    record = json.loads((cut / "distill.json").read_text())
    (cut / "distill.json").write_text(json.dumps({**record, "status": "running"}))
    shutil.rmtree(cut / "student")
    shutil.rmtree(cut / "checkpoints" / "step-00000002")
    train(EXAMPLES[:2], base=base("qwen2_vl"), out=cut, config=config)
    losses = [
        [
            json.loads(line)["loss"]
            for line in (each / "training_log.jsonl").read_text().splitlines()
        ]
        for each in (whole, cut)
    ]
    assert losses[0] == losses[1]
    weights = [(each / "student" / "model.safetensors").read_bytes() for each in (whole, cut)]
    assert weights[0] == weights[1]


def test_qlora_holds_the_language_model_alone_in_4_bits() -> None:
    """The loader is told so; without bitsandbytes, or without LoRA, it is refused."""
    config = replace(FP32, lora_rank=2, quantize="nf4")
    family = family_of("llava")
    found = load_options(family, config, dtype=torch.bfloat16, device="cuda")
    assert (found.quantize, found.dtype) == ("nf4", "bfloat16")
    assert found.unquantized == ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    with pytest.raises(HarnessError, match="QLoRA needs"):
        check_packages(config, "cpu")
    with pytest.raises(HarnessError, match="need lora_rank"):
        replace(FP32, quantize="nf4")
