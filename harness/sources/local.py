"""What a run notes of a model that runs in this process, apart from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints import chat_templates
from harness.checkpoints.chat_templates import ChatTemplate
from harness.checkpoints.checkpoint import Checkpoint
from harness.core.abilities import TemplatedModel
from harness.core.errors import HarnessError
from harness.core.types import Model
from harness.families import family_of
from harness.families.family import ModelFamily
from harness.sources.source import Capabilities


def compute_devices(description: Mapping[str, Any] | None) -> int:
    """How many devices compute, by the description of a loaded model."""
    spread = (description or {}).get("device_map") or {}
    return max(1, sum(name not in {"cpu", "disk"} for name in spread))


class LocalModel:
    """What a model that runs in this process adds to the fingerprint of its run."""

    capabilities = Capabilities()
    place = "this process"

    checkpoint: Checkpoint
    template: ChatTemplate | None
    _model: Model | None = None

    @property
    def fingerprint(self) -> Mapping[str, str | None]:
        """The hash of its weights, and of an adapter or None."""
        raise NotImplementedError

    @property
    def weights_hash(self) -> str:
        """The hash of its weights, and of an adapter, in one line."""
        return " + ".join(filter(None, self.fingerprint.values()))

    @property
    def family(self) -> ModelFamily:
        """Its model family."""
        return family_of(self.checkpoint.model_type)

    @property
    def max_images(self) -> int | None:
        """Pictures that a question may have; None: any number."""
        return self.family.max_images

    @property
    def rendering(self) -> Mapping[str, str | None]:
        """See `Source`."""
        return self._model.rendering if isinstance(self._model, TemplatedModel) else {}

    @property
    def early_fingerprint(self) -> Mapping[str, Any]:
        """What its answers depend on apart from its files; None: as in runs without that field."""
        return {
            "vision_features": None,  # in the record of every family
            **self.family.conventions(self.checkpoint),
            "chat_template": self.template.fingerprint if self.template else None,
        }

    @property
    def full_fingerprint(self) -> Mapping[str, Any]:
        """The part of the fingerprint that is known once the weights are hashed and loaded."""
        return {**self.fingerprint, **self.rendering}


def read_template(path: Path | None, checkpoint: Checkpoint) -> ChatTemplate | None:
    """The user's chat template, for a model that takes one."""
    if path is None:
        return None
    family = family_of(checkpoint.model_type)
    if own := family.own_model:
        raise HarnessError(f"--chat-template: {family.title} {own.no_template}, and takes none.")
    return chat_templates.read(path)
