"""Tiny random checkpoints of families that transformers knows, laid out as their hubs have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerFast

from harness.checkpoints.checkpoint import VISION_STATE
from harness.models.tiny.initial import spread
from harness.models.tiny.tokenizer import CORPUS, MINI_VOCABULARY, train_tokenizer

_CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
    "projection_dim": 32,
}
_TEXT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
_MINI_VISION = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
    "projection_dim": 128,
}
_MINI_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    # Llama's, for LLaVA-NeXT to begin from the same language model.
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}
_LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper }}: "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def _llama_tokenizer(
    image_token: str, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> PreTrainedTokenizerFast:
    return train_tokenizer(
        corpus=corpus,
        vocab_size=MINI_VOCABULARY if size == "mini" else 512,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>", image_token],
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        add_bos=True,
    )


def build_llava(folder: Path, *, seed: int = 0) -> None:
    """LLaVA 1.5: CLIP, a projector, Llama; one picture is a fixed number of tokens."""
    tokenizer = _llama_tokenizer("<image>")
    config = transformers.LlavaConfig(
        vision_config={**_CLIP, "image_size": 32},
        text_config={**_ids(tokenizer), **_TEXT, "model_type": "llama"},
        image_token_index=_id(tokenizer, "<image>"),
        vision_feature_layer=-2,
    )
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_LLAVA_TEMPLATE,
    )
    _save(folder, transformers.LlavaForConditionalGeneration, config, processor, seed=seed)


_LLAVA_NEXT_SHAPES: Mapping[str, Sequence[tuple[int, int]]] = MappingProxyType(
    {
        "tiny": ((1, 2), (2, 1), (2, 2)),
        "mini": ((1, 1),),
        "full": ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3)),
    }
)
"""Rows and columns of tiles that a picture may be cut into."""


def llava_next_config(tokenizer: PreTrainedTokenizerFast, size: str) -> Any:
    """The configuration of LLaVA-NeXT 7B (Mistral), or of a small one like it."""
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
        vision = {**_CLIP, **_MINI_VISION}
        text = {**_TEXT, **_MINI_TEXT}
    else:
        vision, text = {**_CLIP, "image_size": 32}, _TEXT
    side = vision["image_size"]
    shapes = _LLAVA_NEXT_SHAPES[size]
    return transformers.LlavaNextConfig(
        vision_config=vision,
        text_config={
            **_ids(tokenizer),
            **text,
            "model_type": "mistral",
            "sliding_window": None,
        },
        image_token_index=_id(tokenizer, "<image>"),
        image_grid_pinpoints=[[side * height, side * width] for height, width in shapes],
        # The last layer is not used as published; a mini has none to spare.
        vision_feature_layer=-1 if size == "mini" else -2,
    )


def build_llava_next(
    folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """LLaVA-NeXT: a picture is cut into tiles of its own shape; no template in the folder, as in
    older conversions."""
    tokenizer = _llama_tokenizer("<image>", size, corpus)
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
    _save(folder, architecture, config, processor, seed=seed, size=size)


def _mllama_tokenizer(size: str, corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    tokenizer = train_tokenizer(
        corpus=corpus,
        vocab_size=MINI_VOCABULARY if size == "mini" else 512,
        special_tokens=[
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|eot_id|>",
            "<|finetune_right_pad_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
        ],
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        add_bos=True,
    )
    # The placeholder is one past the vocabulary: the embedding has 8 more rows, the head none.
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    return tokenizer


def mllama_config(tokenizer: PreTrainedTokenizerFast, size: str) -> Any:
    """The configuration of Llama 3.2 Vision 11B, or of a small one like it."""
    shapes = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    tiles = _mllama_tiles(size)
    shapes = [shape for shape in shapes if shape[0] * shape[1] <= tiles]
    vision = {**_MLLAMA_VISION[size], "max_num_tiles": tiles, "supported_aspect_ratios": shapes}
    text = _MLLAMA_TEXT[size]
    return transformers.MllamaConfig(
        vision_config=vision,
        text_config={
            **_ids(tokenizer),
            "vocab_size": len(tokenizer) - 1,
            **text,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        image_token_index=_id(tokenizer, "<|image|>"),
    )


_MLLAMA_VISION: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "full": {"image_size": 560, "patch_size": 14},  # the rest is the library's
        "mini": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 256,
            # The recipe of the shipped mini was found with it.
            VISION_STATE: "after",
        },
        "tiny": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 64,
        },
    }
)
_MLLAMA_TEXT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "full": {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
            "max_position_embeddings": 131072,
            "vocab_size": 128256,
        },
        "mini": {
            **_TEXT,
            **_MINI_TEXT,
            "num_hidden_layers": 6,
            "cross_attention_layers": [1, 4],
        },
        "tiny": {**_TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1]},
    }
)


def _mllama_tiles(size: str) -> int:
    """Most tiles that a picture is cut into."""
    return 1 if size == "mini" else 4


def build_mllama(
    folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """Llama 3.2 vision, which LLaVA-CoT is: cross-attention, one placeholder a picture."""
    tokenizer = _mllama_tokenizer(size, corpus)
    config = mllama_config(tokenizer, size)
    side = config.vision_config.image_size
    processor = transformers.MllamaProcessor(
        image_processor=transformers.MllamaImageProcessorPil(
            size={"height": side, "width": side}, max_image_tiles=_mllama_tiles(size)
        ),
        tokenizer=tokenizer,
    )
    architecture = transformers.MllamaForConditionalGeneration
    _save(folder, architecture, config, processor, seed=seed, size=size)


def build_idefics3(folder: Path, *, seed: int = 0) -> None:
    """Idefics 3: SigLIP tiles with a pixel shuffle, a template that takes lists of parts."""
    tokenizer = train_tokenizer(
        special_tokens=[
            "<|begin_of_text|>",
            "<end_of_utterance>",
            "<pad>",
            "<fake_token_around_image>",
            "<image>",
            "<global-img>",
            *(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)),
        ],
        bos_token="<|begin_of_text|>",
        eos_token="<end_of_utterance>",
        pad_token="<pad>",
        add_bos=True,
    )
    config = transformers.Idefics3Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={**_ids(tokenizer), **_TEXT, "model_type": "llama"},
        image_token_id=_id(tokenizer, "<image>"),
        scale_factor=2,
    )
    processor = transformers.Idefics3Processor(
        image_processor=transformers.Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_LLAVA_TEMPLATE.replace("<image>\n", "<image>").replace(
            "ASSISTANT:", "Assistant:"
        ),
    )
    _save(folder, transformers.Idefics3ForConditionalGeneration, config, processor, seed=seed)


def _id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    return int(tokenizer.encode(token, add_special_tokens=False)[0])


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _save(
    folder: Path, architecture: Any, config: Any, processor: Any, *, seed: int, size: str = "tiny"
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # The published weights have two bytes a parameter too.
        model = architecture._from_config(  # noqa: SLF001  # the only way to give a dtype
            config, dtype=torch.bfloat16 if size == "full" else torch.float32
        )
        if size == "mini":
            spread(model, common=True)
        else:
            # The library's 0.02 makes all tokens almost equally likely: answers would be decided
            # by rounding, and an equality of answers would mean nothing.
            # Mllama's gates start at 0, and then no picture changes anything.
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1 and size == "tiny":
                    torch.nn.init.normal_(parameter, std=0.3)
                elif "gate" in name:
                    torch.nn.init.ones_(parameter)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
