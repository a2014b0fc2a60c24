"""LLaVA-NeXT: a picture is cut into tiles of its own shape. It was made from several language
models, each with a chat template of its own; older folders come without any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily, Template
from harness.families.llava import fill_processor
from harness.families.training_traits import TILED_TOWER

_MISTRAL = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %} [/INST]{% else %} "
    "{% for part in message.content %}{{ part.text }}{% endfor %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
_PARTS = (
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}"
)


def _turns(system: str, opening: str, closing: str, answer: str) -> str:
    """A template of the usual kind; `opening` and `closing` surround a turn, `answer` opens the
    model's."""
    return (
        f"{system}{{% for message in messages %}}{opening}{_PARTS}{closing}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{answer}{{% endif %}}"
    )


_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "mistral": _MISTRAL,
        "vicuna": _turns("", "{{ message.role | upper }}: ", " ", "ASSISTANT:"),
        "llama-3": _turns(
            "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
            "You are a helpful language and vision assistant. You are able to understand the "
            "visual content that the user provides, and assist the user with a variety of tasks "
            "using natural language.<|eot_id|>",
            "<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n",
            "<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        "qwen2": _turns(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
            "<|im_start|>{{ message.role }}\n",
            "<|im_end|>{{ '\n' }}",
            "<|im_start|>assistant\n",
        ),
        "yi": _turns(
            "<|im_start|>system\nAnswer the questions.<|im_end|>",
            "<|im_start|>{{ message.role }}\n",
            "<|im_end|>",
            "<|im_start|>assistant\n",
        ),
    }
)
"""By the language model, as published for it."""


def known_template(config: Mapping[str, Any], vocabulary: Collection[str]) -> Template | None:
    """The template of the language model that a checkpoint was made from."""
    language = language_of(config.get("text_config") or {}, vocabulary)
    if language is None:
        return None
    return _TEMPLATES[language], None if language == "mistral" else language


def language_of(text_config: Mapping[str, Any], vocabulary: Collection[str]) -> str | None:
    """Which language model LLaVA-NeXT was made from, a key of _TEMPLATES; None where it is another
    one.

    Vicuna, Llama 3 and Yi are all of the type "llama". They differ in the tokens that end their
    turns, else in the size of their vocabularies.
    """
    kind = text_config.get("model_type", "llama")  # the library's default
    if kind != "llama":
        return kind if kind in {"mistral", "qwen2"} else None
    size = text_config.get("vocab_size")
    size = size if isinstance(size, int) else 0
    if "<|start_header_id|>" in vocabulary or size >= 128_000:
        return "llama-3"
    if "<|im_start|>" in vocabulary or size >= 64_000:
        return "yi"
    return "vicuna" if "</s>" in vocabulary else None


def cell_tokens(network: Any, pixels: Mapping[str, Any]) -> Any:
    """Of each view, with the projector's output as it is."""
    views = pixels["pixel_values"]
    patches = network.model.vision_tower(views.flatten(0, 1)).last_hidden_state[:, 1:]
    return network.model.multi_modal_projector(patches).unflatten(0, views.shape[:2])


_LLAVA_NEXT_SHAPES: Mapping[str, Sequence[tuple[int, int]]] = MappingProxyType(
    {
        "tiny": ((1, 2), (2, 1), (2, 2)),
        "mini": ((1, 1),),
        "full": ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3)),
    }
)
"""Rows and columns of tiles that a picture may be cut into."""


def llava_next_config(tokenizer: Any, size: str) -> Any:
    """The configuration of LLaVA-NeXT 7B (Mistral), or of a small one like it."""
    import transformers

    from harness.families.tiny import decoder

    if size == "full":
        vision: dict[str, Any] = {
            "model_type": "clip_vision_model",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
            "projection_dim": 768,
            "vocab_size": 32000,
        }
        text: dict[str, Any] = {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 32768,
            "rope_theta": 1000000.0,
            "rms_norm_eps": 1e-5,
            "vocab_size": 32064,
        }
    elif size == "mini":
        vision = {**decoder.CLIP, **decoder.MINI_VISION}
        text = {**decoder.TEXT, **decoder.MINI_TEXT}
    else:
        vision, text = {**decoder.CLIP, "image_size": 32}, decoder.TEXT
    side = vision["image_size"]
    shapes = _LLAVA_NEXT_SHAPES[size]
    return transformers.LlavaNextConfig(
        vision_config=vision,
        text_config={
            **decoder.ids(tokenizer),
            **text,
            "model_type": "mistral",
            "sliding_window": None,
        },
        image_token_index=decoder.token_id(tokenizer, "<image>"),
        image_grid_pinpoints=[[side * height, side * width] for height, width in shapes],
        # The last layer is not used as published; a mini has none to spare.
        vision_feature_layer=-1 if size == "mini" else -2,
    )


def build(folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = ()) -> None:
    """LLaVA-NeXT: a picture is cut into tiles of its own shape; no template in the folder, as in
    older conversions."""
    import transformers

    from harness.families.tiny import decoder
    from harness.families.tiny.tokenizer import CORPUS

    tokenizer = decoder.llama_tokenizer("<image>", size, corpus or CORPUS)
    config = llava_next_config(tokenizer, size)
    side = config.vision_config.image_size
    processor = transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_grid_pinpoints=config.image_grid_pinpoints,
        ),
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    architecture = transformers.LlavaNextForConditionalGeneration
    decoder.save(folder, architecture, config, processor, seed=seed, size=size)


FAMILY = ModelFamily(
    name="llava_next",
    title="LLaVA-NeXT",
    template=known_template,
    complete_processor=fill_processor,
    engine=ImageTokens(inputs=("pixel_values", "image_sizes")),
    cell_tokens=cell_tokens,
    builders={"llava-next": build},
    training=TILED_TOWER,
)
