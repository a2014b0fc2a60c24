"""Pix2Struct: an encoder-decoder that has no prompt: a question is drawn above the picture."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import Exit, HarnessError
from harness.families.family import ModelFamily


def _refuse(folder: Path) -> None:
    raise HarnessError(
        f"{folder} holds a Pix2Struct, which has no prompt: it reads a question from the picture.",
        remedy="Choose a model that takes a picture and a text.",
        code=Exit.MISSING,
    )


FAMILY = ModelFamily(name="pix2struct", title="Pix2Struct", check_folder=_refuse)
