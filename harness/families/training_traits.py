"""What training needs to know of a model family: where the parts of its network lie. Readable
without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.families.engine_traits import CrossAttention, ImageTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTraits:
    """The parts of a network by the names of their modules or parameters. What lies in none of them
    is never trained."""

    vision: tuple[str, ...] = ("model.vision_tower",)
    """The vision encoder."""
    projector: tuple[str, ...] = ("model.multi_modal_projector",)
    """What makes embeddings of its output; it may lie within it."""
    language: str = "model.language_model"
    """The language model without its head: it takes embeddings and gives hidden states."""
    head: str = "lm_head"
    images: ImageTokens | CrossAttention | None = None
    """How image features reach the language model; None: as in the decoding engine."""
    sees_whole_prompt: bool = False
    """The tokens of a prompt attend to all of it, those of the answer to what is before them."""
    tokens: Callable[[Any, str], list[int]] | None = None
    """(processor, prompt) -> its tokens, where a picture has a fixed number of them; None: they are
    known once the picture is processed."""

    @property
    def embeddings(self) -> str:
        """The embeddings of tokens."""
        return f"{self.language}.embed_tokens"


TOWER = TrainingTraits()
"""As most of the library's classes name their parts."""
TILED_TOWER = TrainingTraits(projector=("model.multi_modal_projector", "model.image_newline"))
"""With an embedding at the end of each row of tiles."""
CONNECTOR = TrainingTraits(
    vision=("model.vision_model",), projector=("model.connector",), language="model.text_model"
)
"""As in Idefics."""
MERGER = TrainingTraits(
    vision=("model.visual",),
    projector=("model.visual.merger", "model.visual.deepstack_merger_list"),
)
"""As in Qwen-VL, whose projector lies in its vision encoder."""
