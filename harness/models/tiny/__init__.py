"""Small random checkpoints in the published layouts, built on the spot: for tests, for trying the
harness where no weights can be fetched, and for the miniature to be trained from. Nothing they
answer means anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.core.files.atomic import temporary_folder
from harness.models.tiny import chat, kosmos2, moondream, phi3v, vilt

Builder = Callable[..., None]

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "llava": chat.build_llava,
        "llava-next": chat.build_llava_next,
        "llava-cot": chat.build_mllama,
        "idefics3": chat.build_idefics3,
        "moondream": moondream.build,
        "phi-3.5": phi3v.build,
        "kosmos-2": kosmos2.build,
        "vilt": vilt.build,
        "vilt-vqa": vilt.build_vqa,
    }
)


def build(
    name: str,
    folder: Path,
    *,
    seed: int = 0,
    size: str = "tiny",
    corpus: Sequence[str] | None = None,
) -> Path:
    """Write the checkpoint with random weights of family `name`, a key of BUILDERS; returns its
    folder, which appears whole or not at all. One that is there is replaced.

    Args:
        size: "tiny"; "mini", what harness.mini trains; or "full", the published size.
        corpus: what the tokenizer of a mini is made of.
    """
    sizes: dict[str, Any] = {} if size == "tiny" else {"size": size}
    if corpus is not None:
        sizes["corpus"] = corpus
    with temporary_folder(folder) as made:
        BUILDERS[name](made, seed=seed, **sizes)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return folder
