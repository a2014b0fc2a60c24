"""The rows of Table 1: names, sizes, repositories, licences. Readable without torch.

Adding a model of a known kind is one row here. A model that has no row still runs: `--model
ORG/REPO` or `--model FOLDER` goes by the `model_type` of its config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from harness.core.types import Style


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One row of the catalogue."""

    name: str
    """What `--model` takes."""
    title: str
    """What tables print, as in the paper's Table 1."""
    size: str
    repo: str | None
    """None: made by `harness distill`, not published."""
    revision: str | None = None
    role: str = "baseline"
    """teacher, student, distilled or baseline."""
    licence: str
    model_type: str
    """The `model_type` of its config.json, which decides its model family: see harness.families."""
    style: Style = "direct"
    """The prompt style it was trained for, used where none is asked for."""
    plain_styles: tuple[Style, ...] = ()
    """Styles in which it was trained to answer the bare question: no instruction is added."""
    max_new_tokens: int = 500
    """The paper's limit, section 4.3 and Table 3."""
    processor_args: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    parameters: int
    gigabytes: float = 0.0
    """Size of the published weights (parameters times bytes of their dtype), which a download
    takes."""


CATALOG: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="llava-cot",
        title="LLaVA-CoT",
        size="11B",
        repo="Xkev/Llama-3.2V-11B-cot",
        role="teacher",
        licence="apache-2.0 on its card; base: Llama 3.2 Community License",
        model_type="mllama",
        style="structured",
        plain_styles=("structured",),
        parameters=10_670_220_835,
        gigabytes=42.7,  # in float32
    ),
    ModelSpec(
        name="llava-next",
        title="LLaVA-NeXT",
        size="7B",
        repo="llava-hf/llava-v1.6-mistral-7b-hf",
        licence="apache-2.0",
        model_type="llava_next",
        parameters=7_566_747_648,
        gigabytes=15.1,
    ),
    ModelSpec(
        name="phi-3.5",
        title="Phi-3.5-vision-instruct",
        size="4B",
        repo="microsoft/Phi-3.5-vision-instruct",
        licence="MIT",
        model_type="phi3_v",
        parameters=4_146_621_440,
        gigabytes=8.3,
    ),
    ModelSpec(
        name="moondream",
        title="Moondream",
        size="2B",
        repo="vikhyatk/moondream2",
        revision="2024-07-23",
        role="student",
        licence="apache-2.0",
        model_type="moondream1",
        plain_styles=("direct",),
        max_new_tokens=512,
        parameters=1_866_919_792,
        gigabytes=3.7,
    ),
    ModelSpec(
        name="kosmos-2",
        title="KOSMOS-2",
        size="2B",
        repo="microsoft/kosmos-2-patch14-224",
        licence="MIT",
        model_type="kosmos-2",
        parameters=1_664_485_376,
        gigabytes=6.7,  # in float32
    ),
    ModelSpec(
        name="vilt",
        title="ViLT",
        size="113M",
        repo="dandelin/vilt-b32-mlm",
        revision="refs/pr/4",  # its main branch has a pickle only
        licence="apache-2.0",
        model_type="vilt",
        parameters=135_658_554,
        gigabytes=0.5,  # in float32
    ),
    ModelSpec(
        name="moondream-kd",
        title="Moondream-kd",
        size="2B",
        repo=None,
        role="distilled",
        licence="that of Moondream and of the data it was distilled on",
        model_type="moondream1",
        style="structured",
        plain_styles=("structured",),
        max_new_tokens=512,
        parameters=1_866_919_792,
    ),
)

_REVISIONS: Mapping[str, str] = MappingProxyType(
    {"dandelin/vilt-b32-finetuned-vqa": "refs/pr/9"}  # its main branch has a pickle only
)
"""Repositories that a row can take in place of its own (`--weights`), and the revision of each."""


def find(name: str) -> ModelSpec | None:
    """The row called `name`; None where there is none."""
    return next((spec for spec in CATALOG if spec.name == name.lower()), None)


def pinned(repo: str) -> str | None:
    """The revision that is taken of a repository, by row or by name; None: its main branch."""
    rows = {row.repo.lower(): row.revision for row in CATALOG if row.repo}
    return {**_REVISIONS, **rows}.get(repo.lower())


def find_type(model_type: str) -> ModelSpec | None:
    """The first row whose checkpoints have this `model_type`; None where there is none."""
    return next((spec for spec in CATALOG if spec.model_type == model_type), None)
