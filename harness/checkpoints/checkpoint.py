"""A checkpoint that was found: its folder, its row of the catalogue, what tables print of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from harness.checkpoints.catalog import ModelSpec
from harness.checkpoints.folder import read_json
from harness.core.errors import Exit, HarnessError
from harness.core.types import Style

MINI_MARK = "mini.json"
"""The file that makes a checkpoint a mini, and every student that was made from one."""
MINI_LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights that were found."""

    name: str
    """What the run is called."""
    folder: Path
    spec: ModelSpec | None
    """The catalogue's row: by name, or the first of the same model_type (for its styles and
    limits); None for other architectures."""
    named: bool
    """Whether the user asked for `spec` by name: then the row's title and size are its own."""
    config: Mapping[str, Any]
    repo: str | None = None
    revision: str | None = None
    lora: Path | None = None
    """A folder with a LoRA adapter, to be merged into the weights."""
    random: bool = False
    """The weights are random: what is answered means nothing."""
    shipped: bool = False
    """It is one of the minis that come with the package."""
    in_memory: bool = False
    """The weights are those of a model in memory; `folder` has its configuration and processor."""

    @property
    def mini(self) -> bool:
        """Whether it is one of the package's own miniatures, or was made from one."""
        return (self.folder / MINI_MARK).is_file()

    @property
    def title(self) -> str:
        """What tables print: the row's title where it runs under its own name. A mini is named
        one, so that its figures never pass for those of the model."""
        spec = self.spec if self.named else None
        known = {spec.name: spec.title, f"{spec.name}-mini": spec.title} if spec else {}
        title = known.get(self.name, self.name)
        is_named_mini = self.mini or self.name.endswith("-mini")
        return f"{title}-mini" if is_named_mini and not title.endswith("-mini") else title

    @property
    def size(self) -> str:
        """As people write it: the row's, "2B", but a mini's own, "1.3M"."""
        if self.mini:
            return f"{self._mark[0] / 1e6:.1f}M"
        return self.spec.size if self.spec and self.named else ""

    @property
    def style(self) -> Style:
        """The prompt style it was trained for: a mini's own, where its mark names one, else the
        row's. Weights that were not asked for by a row's name are asked for an answer at once."""
        if self.spec is None or not self.named:
            return "direct"
        return self._own_style or self.spec.style

    @property
    def plain_styles(self) -> tuple[Style, ...]:
        """Styles in which it was trained to answer the bare question: no instruction is added."""
        styles = self.spec.plain_styles if self.spec else ()
        return (*styles, self._own_style) if self._own_style else styles

    @property
    def _own_style(self) -> Style | None:
        """A mini's, in which it answers bare questions, where it is not its row's."""
        return self._mark[1] if self.mini else None

    @property
    def _mark(self) -> tuple[int, Style | None]:
        """Of a mini: its number of parameters, and its own style."""
        path = self.folder / MINI_MARK
        mark = read_json(path)
        known = mark if isinstance(mark, dict) else {}
        parameters, style = known.get("parameters"), known.get("style")
        if type(parameters) is not int or style not in (None, *get_args(Style)):
            raise HarnessError(
                f"{path} has no number of parameters, or a style that there is not.",
                remedy="Delete it, if the weights are not a mini.",
                code=Exit.MISSING,
            )
        return parameters, style

    @property
    def licence(self) -> str:
        """The row's; a mini is the package's own."""
        if self.mini:
            return MINI_LICENCE
        return self.spec.licence if self.spec and self.named else ""

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    @property
    def weights(self) -> str:
        """Where the weights come from, in words."""
        if self.random:
            words = "random weights"
        elif self.in_memory:
            words = "model in memory"
        elif self.shipped:
            words = "the mini that comes with the package"
        elif self.repo is None:
            words = f"folder {self.folder.name}"
        else:
            words = self.repo + (f" @ {self.revision}" if self.revision else "")
        return words + (f" with LoRA {self.lora.name}" if self.lora else "")
