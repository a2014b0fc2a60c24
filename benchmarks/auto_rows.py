"""Rows that `--batch-size auto` takes on GPUs of several sizes, computed from published configs.

    python benchmarks/auto_rows.py

Nothing is loaded. What `auto` measures on a device is computed here: weights, the keys and values
of a slot, and what a prefill and a vision pass hold for the time of the pass; the plan is the
engine's own (`harness.engine.budget.plan_slots`). The questions are those of docs/reproduce.md: 100
tokens of text, a picture at its longest, an answer as long as is allowed. All in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from harness.checkpoints.catalog import find
from harness.engine.budget import PassMemory, plan_slots
from harness.engine.kv_cache import GRAPH_BLOCK, capacity_for
from harness.models.streaming import CACHE_FRACTION, IMAGE_FEATURE_BYTES, MAX_SLOTS

GPUS = (24, 40, 80, 141)
"""Memory in GB of 1e9 bytes."""
CONTEXT_BYTES = 600_000_000
"""What CUDA itself and its libraries hold."""
BYTES = 2
"""Of a value in bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides the memory of a model and of its questions."""

    parameters: int
    token_bytes: int
    """Keys and values of a token, in all layers that grow with the prompt."""
    picture_bytes: int = 0
    """Keys and values of a picture, where they do not grow with the prompt."""
    prefill_bytes: int
    """What a token holds during a prefill, its keys and values included."""
    pixel_bytes: float
    """What a pixel holds during a vision pass."""
    pixels: int
    """Of a picture at its longest, over all tiles."""
    prompt: int
    """Tokens, those of the picture included."""
    answer: int
    """Tokens that are allowed."""

    @property
    def slot_bytes(self) -> int:
        """What a slot of the engine holds: see `StreamingModel.slots_that_fit`."""
        length = self.prompt + self.prompt // 4 + self.answer
        capacity = capacity_for(length, held=0, block=GRAPH_BLOCK)
        return self.token_bytes * capacity + self.picture_bytes


def text_bytes(text: Any) -> int:
    """What a token of the language model holds while a layer is prefilled.

    Its MLP takes more than its attention: the residual stream, its normalized values, the output,
    and the inner values, of gate, up and product where it is gated.
    """
    inner = getattr(text, "intermediate_size", None) or text.ffn_dim
    gated = text.hidden_act in {"silu", "swiglu"} if hasattr(text, "hidden_act") else False
    return int(BYTES * (3 * text.hidden_size + (3 if gated else 2) * inner))


def cache_bytes(text: Any, layers: int | None = None) -> int:
    """Keys and values of a token in the language model.

    Args:
        layers: that have any; None: all.
    """
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * BYTES * (layers or text.num_hidden_layers) * heads * width)


def patch_bytes(vision: Any, *, kept: int, context: int = 0) -> int:
    """What a patch holds during a vision pass.

    Args:
        kept: layers whose output is held until the end.
        context: patches that an explicit mask relates it to.
    """
    inner = 4 * vision.hidden_size + 2 * vision.intermediate_size
    return int(BYTES * (inner + kept * vision.hidden_size + context))


def _llava_cot() -> Shape:
    from harness.families.mllama.tiny import mllama_config
    from harness.families.tiny.decoder import llama_tokenizer

    config = mllama_config(llama_tokenizer("<|image|>"), "full")
    text, vision = config.text_config, config.vision_config
    tiles, crossing = vision.max_num_tiles, len(text.cross_attention_layers)
    patches = tiles * ((vision.image_size // vision.patch_size) ** 2 + 1)
    held = cache_bytes(text, text.num_hidden_layers - crossing)
    layers = vision.num_hidden_layers + vision.num_global_layers + 1
    pixels = tiles * vision.image_size**2
    return Shape(
        parameters=_parameters("llava-cot"),
        token_bytes=held,
        picture_bytes=patches * cache_bytes(text, crossing),
        prefill_bytes=held + text_bytes(text),
        pixel_bytes=patches * patch_bytes(vision, kept=layers, context=patches) / pixels,
        pixels=pixels,
        prompt=100,
        answer=_answer("llava-cot"),
    )


def _llava_next() -> Shape:
    from harness.families.llava_next import llava_next_config
    from harness.families.tiny.decoder import llama_tokenizer

    config = llava_next_config(llama_tokenizer("<image>"), "full")
    text, vision = config.text_config, config.vision_config
    return _decoder_only(
        "llava-next", text, vision, views=5, kept=vision.num_hidden_layers + 1, picture=2880
    )


def _phi() -> Shape:
    from transformers import CLIPVisionConfig

    from harness.families.phi3v.classes import Phi3VConfig

    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    return _decoder_only("phi-3.5", Phi3VConfig(), vision, views=5, kept=0, picture=757)


def _moondream() -> Shape:
    from harness.models import MoondreamConfig

    config = MoondreamConfig()
    return _decoder_only(
        "moondream", config.text_config, config.vision_config, views=5, kept=0, picture=729
    )


def _kosmos() -> Shape:
    from transformers import Kosmos2Config

    config = Kosmos2Config()
    return _decoder_only(
        "kosmos-2", config.text_config, config.vision_config, views=1, kept=0, picture=64
    )


def _decoder_only(
    name: str, text: Any, vision: Any, *, views: int, kept: int, picture: int
) -> Shape:
    """A model whose pictures are tokens of its prompt.

    Args:
        views: of a picture at its longest: the whole of it, and its tiles.
        kept: layers of the encoder whose output is held until the end.
        picture: tokens.
    """
    held = cache_bytes(text)
    return Shape(
        parameters=_parameters(name),
        token_bytes=held,
        prefill_bytes=held + text_bytes(text),
        pixel_bytes=patch_bytes(vision, kept=kept) / vision.patch_size**2,
        pixels=views * vision.image_size**2,
        prompt=100 + picture,
        answer=_answer(name),
    )


def _parameters(name: str) -> int:
    row = find(name)
    assert row is not None
    return row.parameters


def _answer(name: str) -> int:
    row = find(name)
    assert row is not None
    return row.max_new_tokens


SHAPES: Mapping[str, Callable[[], Shape]] = MappingProxyType(
    {
        "llava-cot": _llava_cot,
        "llava-next": _llava_next,
        "phi-3.5": _phi,
        "moondream": _moondream,
        "kosmos-2": _kosmos,
    }
)
"""ViLT has no slots: it scores options."""


def rows(shape: Shape, gigabytes: float) -> int:
    """The rows that `auto` takes on a GPU with so much memory; 0: not even one fits."""
    free = gigabytes * 1e9 - CONTEXT_BYTES - BYTES * shape.parameters
    passes = PassMemory(
        tokens=shape.prompt,
        prefill_bytes=shape.prefill_bytes * shape.prompt,
        pixels=shape.pixels,
        vision_bytes=int(shape.pixel_bytes * shape.pixels),
    )
    slots, budget = plan_slots(
        int(max(free, 0) * CACHE_FRACTION),
        bytes_per_slot=shape.slot_bytes,
        passes=passes,
        kept=IMAGE_FEATURE_BYTES,
        limit=MAX_SLOTS["cuda"],
    )
    # Where one slot is all that is left, auto tries it; what is computed says whether it fits.
    fits = free >= passes.of(budget) + slots * shape.slot_bytes
    return slots if fits else 0


def main() -> None:
    print("| row | " + " | ".join(f"{size} GB" for size in GPUS) + " |")
    for name, shape_of in SHAPES.items():
        shape = shape_of()
        cells = [str(rows(shape, size) or "—") for size in GPUS]
        print(f"| `{name}` | {' | '.join(cells)} |")
        print(
            f"  a slot {shape.slot_bytes / 1e9:.2f} GB, a picture's vision pass "
            f"{shape.pixel_bytes * shape.pixels / 1e9:.2f} GB, 8,192 tokens of prefill "
            f"{shape.prefill_bytes * 8192 / 1e9:.2f} GB"
        )


if __name__ == "__main__":
    main()
