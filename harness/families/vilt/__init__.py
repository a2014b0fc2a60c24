"""ViLT: an encoder that scores options or labels, and generates no text. See `model`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core.types import Model, Prompt
from harness.families.family import ModelFamily, OwnModel


def _load_weights(folder: Path, **arguments: Any) -> Any:
    from harness.families.vilt.model import load

    return load(folder, **arguments)


def _assemble(network: Any, processor: Any, device: str) -> Model:
    from harness.families.vilt.model import Vilt

    return Vilt(network, processor, device=device)


def _prompt_text(folder: Path, processor: Any) -> Callable[[Prompt], str]:
    from harness.families.vilt.model import load_prompt_text

    return load_prompt_text(folder, processor)


def _build(folder: Path, **options: Any) -> None:
    from harness.families.vilt import tiny

    tiny.build(folder, **options)


def _build_vqa(folder: Path, **options: Any) -> None:
    from harness.families.vilt import tiny

    tiny.build_vqa(folder, **options)


FAMILY = ModelFamily(
    name="vilt",
    title="ViLT",
    max_images=1,
    own_model=OwnModel(
        load_weights=_load_weights,
        assemble=_assemble,
        prompt_text=_prompt_text,
        no_template="fills masks in a sentence",
    ),
    builders={"vilt": _build, "vilt-vqa": _build_vqa},
    untrainable="one encoder reads words and picture together and scores "
    "answers: it has no language model that writes",
)
