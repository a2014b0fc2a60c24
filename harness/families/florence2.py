"""Florence-2: DaViT and BART, an encoder-decoder with a prompt for each of its tasks.

The released checkpoints were not trained to answer questions; those fine-tuned for it are asked
with `<VQA>` and the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.families.family import ModelFamily, encode_flat


def _without_tasks(processor: Any, config: Mapping[str, Any]) -> None:
    """A question that holds the name of a task, <CAPTION> say, stays as it is."""
    del config
    processor.task_prompts_without_inputs = {}
    processor.task_prompts_with_input = {}


FAMILY = ModelFamily(
    name="florence2",
    title="Florence-2",
    turn=lambda _images, text: f"<VQA>{text}",
    max_images=1,
    needs_image=True,
    encode=encode_flat,
    complete_processor=_without_tasks,
    untrainable="its answers are written by an encoder-decoder, which training does not know",
)
