"""What a run notes of a checkpoint that is loaded here, apart from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints import chat_templates
from harness.checkpoints.chat_templates import ChatTemplate
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.errors import HarnessError
from harness.core.types import Model, TemplatedModel


def compute_devices(description: Mapping[str, Any] | None) -> int:
    """How many devices compute, by the description of a loaded model."""
    spread = (description or {}).get("device_map") or {}
    return max(1, sum(name not in {"cpu", "disk"} for name in spread))


class LocalModel:
    """What a model that runs in this process adds to the fingerprint of its run."""

    checkpoint: Checkpoint
    template: ChatTemplate | None
    _model: Model | None = None

    @property
    def fingerprint(self) -> Mapping[str, str | None]:
        """The hash of its weights, and of an adapter or None."""
        raise NotImplementedError

    @property
    def conventions(self) -> Mapping[str, str | None]:
        """What its answers depend on apart from its files; None: as in runs without that field."""
        return _conventions(self.checkpoint, self.template)

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """`harness.core.types.TemplatedModel.rendering`; empty until the model is loaded."""
        return self._model.rendering if isinstance(self._model, TemplatedModel) else {}

    @property
    def early_fingerprint(self) -> Mapping[str, Any]:
        """The part of the fingerprint that is known before the weights are loaded."""
        return self.conventions

    @property
    def full_fingerprint(self) -> Mapping[str, Any]:
        """The part of the fingerprint that is known once the weights are hashed and loaded."""
        return {**self.fingerprint, **self.rendering}


def _conventions(checkpoint: Checkpoint, template: ChatTemplate | None) -> dict[str, str | None]:
    """What answers depend on apart from the checkpoint's files; None: as in runs without that
    field."""
    before = checkpoint.vision_state == "before"
    return {
        "vision_features": "state before layer" if before else None,
        "chat_template": template.fingerprint if template else None,
    }


def read_template(path: Path | None, checkpoint: Checkpoint) -> ChatTemplate | None:
    """The user's chat template, for a model that takes one."""
    if path is None:
        return None
    if checkpoint.family == "vilt":
        raise HarnessError("--chat-template: ViLT fills masks in a sentence, and takes none.")
    return chat_templates.read(path)
