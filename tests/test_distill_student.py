"""Moondream as a student: its tokens, its loss, what of it is trained, and what it leaves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import harness.models  # noqa: F401  # makes Moondream known to the auto classes
from distill.config import DistillConfig, Part, preset
from distill.examples import Example
from distill.training.network import parts_of_parameters
from distill.training.student import Student
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import HarnessError, SampleError
from harness.core.images import ImageRef
from harness.core.structured import Rationale
from harness.core.types import DataOptions
from harness.models.loading import LoadOptions, load
from tasks.scienceqa import TASK
from tasks.scienceqa import load as load_questions

BOS = EOS = 0
IMAGE = 511
IMAGE_TOKENS = 16
FP32 = preset("paper", precision="float32")


@pytest.fixture(scope="module")
def examples(drawn: Path) -> list[Example]:
    """Drawn questions, with rationales of different lengths."""
    samples = load_questions(DataOptions(path=drawn)).samples
    return [
        Example(s, Rationale(s.question[: 5 * n % 40 + 5], f"A {s.topic}.", s.solution, "A"))
        for n, s in enumerate(samples)
    ]


@pytest.fixture
def make(tiny, tmp_path: Path) -> Callable[..., Student]:
    """A student from the tiny checkpoint."""

    def student(config: DistillConfig = FP32, name: str = "features") -> Student:
        return Student(tiny("moondream"), config, TASK, features=tmp_path / name)

    return student


def with_picture(example: Example, *, size: tuple[int, int]) -> Example:
    """The same with a picture of that width and height."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, "PNG")
    picture = ImageRef("gradient.png", file.getvalue)
    return replace(example, sample=replace(example.sample, images=(picture,)))


def words(student: Student, text: str) -> list[int]:
    ids: list[int] = tokenizer(student)(text, add_special_tokens=False)["input_ids"]
    return ids


def tokenizer(student: Student) -> Any:
    return student._processor.tokenizer


def test_a_row_by_hand(make, examples: list[Example]) -> None:
    """BOS, 16 places for the picture, the bare question, the target, the end token; labels on the
    target and the end token only."""
    student, example = make(), examples[0]
    sample, rationale = example.sample, example.rationale
    letter = "ABCD"[sample.target]
    options = ", ".join(f"{x}: {c}" for x, c in zip("ABCD", sample.choices, strict=False))
    question = words(student, f"\n\nQuestion: {sample.question} Options: {options}\n\nAnswer:")
    target = words(
        student,
        f"<SUMMARY> {rationale.summary.strip()} </SUMMARY>\n\n"
        f"<CAPTION> {rationale.caption} </CAPTION>\n\n"
        f"<REASONING> {rationale.reasoning} </REASONING>\n\n"
        f"<CONCLUSION> {letter} </CONCLUSION>",
    )
    row = student.rows(example)[0]
    start = [BOS, *[IMAGE] * IMAGE_TOKENS, *question]
    assert list(row.ids) == [*start, *target, EOS]
    assert list(row.labels) == [-100] * len(start) + [*target, EOS]
    assert list(row.weights) == [0.0] * len(start) + [1.0] * (len(target) + 1)


def test_a_row_is_made_once_for_all_epochs(
    make, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another target it is another one; beyond the limit each is made again."""
    student, example = make(), examples[0]
    assert student.rows(example)[0] is student.rows(example)[0]
    assert example.rationale is not None
    other = replace(example, rationale=replace(example.rationale, reasoning="Otherwise."))
    assert student.rows(other)[0].ids != student.rows(example)[0].ids
    monkeypatch.setattr("distill.training.tokens.MAX_KEPT_TOKENS", 0)
    first, second = (student.rows(examples[1])[0] for _ in range(2))
    assert first is not second
    assert first.ids == second.ids


def test_the_answer_only_row(make, examples: list[Example]) -> None:
    """The target is a space, the letter and the end token."""
    student = make(replace(FP32, objective="answer"))
    row = student.rows(examples[0])[0]
    letter = "ABCD"[examples[0].sample.target]
    learned = [token for token in row.labels if token != -100]
    assert learned == [*words(student, f" {letter}"), EOS]


@pytest.mark.parametrize("style", ["structured", "direct"])
def test_what_is_trained_on_is_what_is_asked(
    make, tiny, examples: list[Example], style: str
) -> None:
    """The tokens before the target are those that the evaluation of a distilled model sends."""
    student, sample = make(), examples[3].sample
    model = "moondream-kd" if style == "structured" else str(tiny("moondream"))
    found = find_checkpoint(model, weights=str(tiny("moondream")))
    loaded = load(found, LoadOptions(device="cpu", dtype="float32"))
    (group,) = loaded.prepare([TASK.prompt(sample, style)])
    asked = group.inputs["input_ids"][0].tolist()
    row = student.rows(examples[3])[0]
    assert list(row.ids[: len(asked)]) == asked
    assert row.labels[len(asked)] != -100 == row.labels[len(asked) - 1]


def test_padding_is_on_the_right_with_the_end_token(make, examples: list[Example]) -> None:
    """Padding has no label and no weight; pictures come in the order of the rows."""
    student = make()
    some = sorted(examples[:4], key=lambda e: len(student.rows(e)[0].ids))
    batch = student.encode(some)
    rows = [student.rows(example)[0] for example in some]
    longest = len(rows[-1].ids)
    assert batch.ids.shape == batch.labels.shape == batch.weights.shape == (4, longest)
    for at, row in enumerate(rows):
        rest = longest - len(row.ids)
        assert batch.ids[at].tolist() == [*row.ids, *[EOS] * rest]
        assert batch.labels[at].tolist() == [*row.labels, *[-100] * rest]
        assert batch.weights[at].tolist() == [*row.weights, *[0.0] * rest]
    assert batch.tokens == sum(len(row.ids) for row in rows)
    assert batch.targets == batch.weight == sum(sum(w > 0 for w in row.weights) for row in rows)
    assert [each.shape for each in batch.features] == [(IMAGE_TOKENS, 64)] * 4
    assert torch.equal(batch.features[2], student.encode([some[2]]).features[0])


def independent_loss(
    folder: Path, rows: list[tuple[Any, Example]]
) -> tuple[list[float], list[float]]:
    """Negative log-likelihood and weight of each target token, by a plain forward pass of each
    example alone, from pixels."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder)
    losses, weights = [], []
    for row, example in rows:
        pictures = [image.decode() for image in example.sample.images]
        pixels = processor.image_processor(pictures, return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.ids]), **pixels).logits[0]
        chances = logits.double().log_softmax(-1)
        for place, label in enumerate(row.labels):
            if label != -100:
                losses.append(-float(chances[place - 1, label]))
                weights.append(row.weights[place])
    return losses, weights


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": "answer"},
        {"without": ("caption",), "summary_weight": 0.25, "conclusion_weight": 4.0},
        {"gradient_checkpointing": True},
        {"feature_cache_gb": 0.0},
        {"train": ("vision", "projector", "layers")},
    ],
    ids=str,
)
def test_the_loss_is_that_of_a_plain_forward_pass(
    make, tiny, examples: list[Example], changes: dict[str, Any]
) -> None:
    """Equation 1 as a mean over target tokens; padding and batching change nothing."""
    student = make(replace(FP32, **changes))
    some = examples[::16]
    losses, weights = independent_loss(
        tiny("moondream"), [(student.rows(example)[0], example) for example in some]
    )
    expected = sum(x * w for x, w in zip(losses, weights, strict=True)) / sum(weights)
    assert student.loss(student.encode(some)).item() == pytest.approx(expected, abs=1e-5)


def test_weights_of_stages_fall_on_their_tokens(make, examples: list[Example]) -> None:
    """The tokens of weight 3 spell the caption and the blank line behind it."""
    student = make(replace(FP32, caption_weight=3.0))
    row = student.rows(examples[5])[0]
    heavy = [i for i, w in zip(row.ids, row.weights, strict=True) if w == 3.0]
    caption = examples[5].rationale.caption
    assert tokenizer(student).decode(heavy) == f"<CAPTION> {caption} </CAPTION>\n\n"


def test_data_cannot_write_control_tokens(make, examples: list[Example]) -> None:
    """A rationale or a question that spells the end token or the image's is broken up."""
    student = make()
    evil = "<|endoftext|> <image>"
    example = Example(replace(examples[0].sample, question=evil), Rationale(evil, evil, evil, "A"))
    ids = student.rows(example)[0].ids
    assert ids.count(IMAGE) == IMAGE_TOKENS
    assert ids.count(EOS) == 2  # the first and the last
    assert student.length(example) == len(ids)


def test_every_parameter_has_its_part(make) -> None:
    """Parts neither overlap nor leave anything out."""
    student = make()
    found = parts_of_parameters(student.network.model, student.network.traits)
    assert {len(parts) for parts in found.values()} == {1}
    assert set().union(*found.values()) == set(get_args(Part))


@pytest.mark.parametrize(
    "train",
    [("embeddings", "layers", "head"), ("projector",), ("vision", "head"), ("layers",)],
    ids=str,
)
def test_only_the_chosen_parts_are_trained(
    make, examples: list[Example], tmp_path: Path, train: Any
) -> None:
    """After a step and the export, frozen tensors are the base's to the bit, trained ones are not;
    names and types are the published ones."""
    student = make(replace(FP32, train=train))
    before = load_file(student._base / "model.safetensors")
    optimizer = torch.optim.Adam(student.trainable(), lr=1e-2)
    student.loss(student.encode(examples[:4])).backward()
    optimizer.step()
    out = tmp_path / f"trained-{'-'.join(train)}"
    student.export(out)
    after = load_file(out / "model.safetensors")
    published = {
        "vision": "vision_encoder.encoder.",
        "projector": "vision_encoder.projection.",
        "embeddings": "text_model.transformer.embd.",
        "layers": ("text_model.transformer.h.", "text_model.lm_head.ln."),
        "head": "text_model.lm_head.linear.",
    }
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert tensor.dtype == before[name].dtype
        trained = any(name.startswith(published[part]) for part in train)
        assert torch.equal(tensor, before[name]) is not trained, name
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        assert (out / name).read_bytes() == (student._base / name).read_bytes()


def test_a_half_precision_base_keeps_its_frozen_bits(tiny, examples, tmp_path: Path) -> None:
    """Trained in bfloat16, a float16 base comes back in float16, its encoder untouched."""
    from transformers import AutoModelForImageTextToText

    base = tmp_path / "base"
    model = AutoModelForImageTextToText.from_pretrained(tiny("moondream"), dtype=torch.float16)
    model.save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((tiny("moondream") / name).read_bytes())
    student = Student(base, preset("paper"), TASK, features=tmp_path / "features")
    kept = {name: p.dtype for name, p in student.module.named_parameters()}
    assert kept["model.lm_head.weight"] == torch.float32
    assert kept["model.model.vision_tower.post_layernorm.weight"] == torch.bfloat16
    optimizer = torch.optim.Adam(student.trainable(), lr=1e-2)
    student.loss(student.encode(examples[:2])).backward()
    optimizer.step()
    student.export(tmp_path / "student")
    before, after = (load_file(f / "model.safetensors") for f in (base, tmp_path / "student"))
    assert {t.dtype for t in after.values()} == {torch.float16}
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is name.startswith("vision_encoder."), name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_float32(make, examples: list[Example], precision: Any) -> None:
    """The loss differs by rounding only."""
    exact, half = make(), make(preset("paper", precision=precision), "half")
    some = examples[:4]
    expected = exact.loss(exact.encode(some)).item()
    found = half.loss(half.encode(some))
    found.backward()
    assert found.item() == pytest.approx(expected, rel=5e-3)
    assert found.item() != expected


def test_lora_trains_adapters_and_merges_them(
    make, examples: list[Example], tmp_path: Path
) -> None:
    """Only adapters are learned; the exported model, which has none, answers as the adapted one."""
    student = make(replace(FP32, lora_rank=4, train=("layers", "projector")))
    learned = [n for n, p in student.module.named_parameters() if p.requires_grad]
    assert learned
    assert all(".lora_" in name for name in learned)
    assert any("projector" in name for name in learned)
    batch = student.encode(examples[:4])
    optimizer = torch.optim.Adam(student.trainable(), lr=1e-2)
    first = student.loss(batch)
    for _ in range(2):
        student.loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted = student.loss(batch).item()
    assert adapted < first.item()
    out = tmp_path / "merged"
    student.export(out)
    before, after = (load_file(f / "model.safetensors") for f in (student._base, out))
    assert before.keys() == after.keys()
    merged = Student(out, FP32, TASK, features=out / "features")
    assert merged.loss(merged.encode(examples[:4])).item() == pytest.approx(adapted, abs=1e-4)


def test_lora_without_a_linear_layer(make) -> None:
    """There is nothing to adapt in an embedding table."""
    with pytest.raises(HarnessError, match="no linear layer"):
        make(replace(FP32, lora_rank=4, train=("embeddings",)))


def test_features_are_computed_once(make, examples: list[Example], tmp_path: Path) -> None:
    """A batch of pictures is one file; a second student reads it, and the bits are those of computing
    anew."""
    some, folder = examples[:4], tmp_path / "features"
    first = make()
    assert not first.unusable_pictures(some)
    (file,) = folder.rglob("*.safetensors")
    kept = first.encode(some)
    uncached = make(replace(FP32, feature_cache_gb=0.0), "none").encode(some)
    assert all(map(torch.equal, kept.features, uncached.features))
    assert not (tmp_path / "none").exists()
    features = load_file(file)
    assert [each.shape for each in features.values()] == [(IMAGE_TOKENS, 64)] * 4
    # What is on disk is what is used: other numbers in it are seen.
    save_file({name: torch.zeros_like(each) for name, each in features.items()}, file)
    assert not torch.stack(make().encode(some).features).any()


def test_a_picture_has_the_features_it_has_alone(make, examples: list[Example]) -> None:
    """Whatever is encoded with it, small pictures and those that are cut into tiles alike."""
    some = [*examples[:3], with_picture(examples[3], size=(900, 300)), *examples[4:6]]
    student = make()
    assert not student.unusable_pictures(some)
    together = student.encode(some).features
    for number, example in enumerate(some):
        alone = make(name=f"alone-{number}").encode([example]).features
        assert torch.allclose(together[number], alone[0], rtol=1e-5, atol=1e-5)


def test_encoding_resumes(make, examples: list[Example], tmp_path: Path) -> None:
    """What was written before an interruption is kept, and only the others are encoded."""
    make().unusable_pictures(examples[:3])
    (before,) = (tmp_path / "features").rglob("*.safetensors")
    written = before.stat().st_mtime_ns
    make().unusable_pictures(examples[:5])
    (after,) = set((tmp_path / "features").rglob("*.safetensors")) - {before}
    assert before.stat().st_mtime_ns == written
    assert (len(load_file(before)), len(load_file(after))) == (3, 2)


def test_features_of_earlier_versions_are_read(make, examples, tmp_path: Path) -> None:
    """They wrote a file for each picture, named after it."""
    (expected,) = make().encode(examples[:1]).features
    (file,) = (tmp_path / "features").rglob("*.safetensors")
    ((digest, features),) = load_file(file).items()
    file.unlink()
    save_file({"features": features * 2}, file.with_name(f"{digest}.safetensors"))
    assert torch.equal(make().encode(examples[:1]).features[0], expected * 2)


@pytest.mark.parametrize("bytes_", [b"", b"no safetensors", None], ids=["empty", "junk", "shape"])
def test_damaged_features_are_computed_again(make, examples, tmp_path: Path, bytes_) -> None:
    """What is cached is checked before it is used."""
    from safetensors.torch import save

    student = make()
    (good,) = student.encode(examples[:1]).features
    (file,) = (tmp_path / "features").rglob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(save({"features": torch.zeros(2, 2)}) if bytes_ is None else bytes_)
    assert torch.equal(make().encode(examples[:1]).features[0], good)
    assert file.read_bytes() == whole


def test_the_cache_stays_within_its_limit(make, examples: list[Example], tmp_path: Path) -> None:
    """Pictures beyond the limit are encoded anew, with the same loss."""
    size = IMAGE_TOKENS * 64 * 4
    student = make(replace(FP32, feature_cache_gb=3.5 * size / 1e9))
    assert not student.unusable_pictures(examples[:8])
    (file,) = (tmp_path / "features").rglob("*.safetensors")
    assert len(load_file(file)) == 3
    assert file.stat().st_size <= 3.5 * size
    whole = make(name="whole")
    losses = [s.loss(s.encode(examples[:8])).item() for s in (student, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_features_of_other_weights_are_not_used(make, tiny, examples, tmp_path: Path) -> None:
    """Weights and precision are part of a feature's name."""
    (first,) = make().encode(examples[:1]).features
    other = Student(tiny("moondream", 1), FP32, TASK, features=tmp_path / "features")
    assert not torch.equal(other.encode(examples[:1]).features[0], first)
    (half,) = make(preset("paper")).encode(examples[:1]).features
    assert half.dtype == torch.bfloat16


def test_what_cannot_be_learned(make, examples: list[Example]) -> None:
    """A broken picture, a missing rationale and a sequence beyond the context are told apart."""
    student = make()
    example = examples[0]
    broken = ImageRef("broken.png", lambda: b"no picture")
    bad = Example(replace(example.sample, id="bad", images=(broken,)), example.rationale)
    (said,) = student.unusable_pictures([example, bad]).items()
    assert said[0] == "bad"
    assert said[1].startswith("its picture cannot be used: broken.png: ")
    with pytest.raises(SampleError, match="no rationale"):
        student.length(Example(example.sample, None))
    long = replace(example.rationale, reasoning="so " * 3000)
    with pytest.raises(SampleError, match="longer than the context of 2048 tokens"):
        student.length(Example(example.sample, long))


def test_a_question_without_a_picture(make, examples: list[Example]) -> None:
    """It can be learned beside others, and has no places for one."""
    student = make()
    bare = Example(replace(examples[0].sample, images=()), examples[0].rationale)
    batch = student.encode([bare, examples[1]])
    assert IMAGE not in batch.ids[0].tolist()
    assert len(batch.features) == 1
    assert torch.isfinite(student.loss(batch))
    assert student.encode([bare]).features is None


def test_the_config_is_the_published_one(make, examples: list[Example], tmp_path: Path) -> None:
    """The exported folder's config.json names the published classes still."""
    make().export(tmp_path / "student")
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["model_type"] == "moondream1"
    assert "auto_map" in config
