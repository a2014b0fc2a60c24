"""Idefics 3: SigLIP tiles with a pixel shuffle, a template that takes lists of parts."""

from __future__ import annotations

from pathlib import Path

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily
from harness.families.training_traits import CONNECTOR


def build(folder: Path, *, seed: int = 0) -> None:
    """Write a tiny checkpoint with random weights."""
    import transformers

    from harness.families.tiny import decoder
    from harness.families.tiny.tokenizer import train_tokenizer

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
        text_config={**decoder.ids(tokenizer), **decoder.TEXT, "model_type": "llama"},
        image_token_id=decoder.token_id(tokenizer, "<image>"),
        scale_factor=2,
    )
    processor = transformers.Idefics3Processor(
        image_processor=transformers.Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=decoder.LLAVA_TEMPLATE.replace("<image>\n", "<image>").replace(
            "ASSISTANT:", "Assistant:"
        ),
    )
    decoder.save(
        folder, transformers.Idefics3ForConditionalGeneration, config, processor, seed=seed
    )


FAMILY = ModelFamily(
    name="idefics3",
    title="Idefics 3",
    engine=ImageTokens(inputs=("pixel_values", "pixel_attention_mask")),
    builders={"idefics3": build},
    training=CONNECTOR,
)
