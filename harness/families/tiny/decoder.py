"""What the random checkpoints of several families are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from harness.families.tiny.initial import spread
from harness.families.tiny.tokenizer import CORPUS, MINI_VOCABULARY, train_tokenizer

CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
    "projection_dim": 32,
}
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
MINI_VISION = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
    "projection_dim": 128,
}
MINI_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    # Llama's, for LLaVA-NeXT to begin from the same language model.
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}
LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper }}: "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def llama_tokenizer(
    image_token: str, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> PreTrainedTokenizerFast:
    """A tokenizer with Llama's control tokens, and one for images."""
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


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The number of a token that the tokenizer has."""
    return int(tokenizer.encode(token, add_special_tokens=False)[0])


def ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What a language model's config says of its tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def save(
    folder: Path, architecture: Any, config: Any, processor: Any, *, seed: int, size: str = "tiny"
) -> None:
    """Write a checkpoint with random weights, wide enough apart for answers to differ."""
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
