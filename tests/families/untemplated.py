"""Families that come without a chat template, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import transformers as t
from tokenizers import Tokenizer, decoders, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel

from tests.families.checkpoint import Family, Words, vision

_SQUARE = {"height": 32, "width": 32}
_QFORMER = {
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "encoder_hidden_size": 32,
}


def _opt(w: Words) -> dict[str, Any]:
    return {
        "model_type": "opt",
        **w.ids,
        "hidden_size": 64,
        "ffn_dim": 96,
        "word_embed_proj_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }


def _t5(w: Words) -> dict[str, Any]:
    return {
        "model_type": "t5",
        **w.ids,
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 96,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 3,
    }


def _qformer_processor(kind: Any, w: Words, *more: Any) -> Any:
    return kind(t.BlipImageProcessorPil(size=_SQUARE), w.tokenizer, *more, num_query_tokens=4)


def _asked(text: str, _pictured: bool) -> str:
    return f"Question: {text} Answer:"


def _letters(number: int) -> str:
    """A number as Chameleon spells it in the names of its image tokens."""
    return "".join("ABCDEFGHIJ"[int(digit)] for digit in str(number))


def _fuyu_tokenizer(w: Words) -> t.PreTrainedTokenizerFast:
    """A picture's tokens are pieces like any other, and a space is before each text: the processor
    cuts it off."""
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    pieces = sorted(w.tokenizer.get_vocab().items(), key=lambda piece: piece[1])
    model = models.Unigram(
        [(piece, 0.0 if piece.startswith(("|S", "|N")) else -10.0) for piece, _ in pieces], unk_id=0
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return t.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=[f"<0x0{n}>" for n in range(5)],
        **named,
    )


def _fuyu_patches(processor: Any, _model: Any) -> None:
    """The PIL half of its image processor cuts arrays, and is given tensors."""

    def cut(image: torch.Tensor, patch_size: Any) -> torch.Tensor:
        rows = image.unfold(2, patch_size.height, patch_size.height)
        patches = rows.unfold(3, patch_size.width, patch_size.width)
        return patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)

    processor.image_processor.patchify_image = cut


UNTEMPLATED: Mapping[str, Family] = MappingProxyType(
    {
        "blip": Family(
            architecture="BlipForConditionalGeneration",
            config=lambda w: t.BlipConfig(
                vision_config=vision(),
                text_config={
                    **w.text(),
                    "encoder_hidden_size": 32,
                    "projection_dim": 32,
                    "sep_token_id": 2,
                },
                projection_dim=32,
            ),
            processor=lambda w: t.BlipProcessor(t.BlipImageProcessorPil(size=_SQUARE), w.tokenizer),
            sep=True,
            tokens={},
            image=None,
            needs_picture=True,
        ),
        "blip-2": Family(
            architecture="Blip2ForConditionalGeneration",
            config=lambda w: t.Blip2Config(
                vision_config=vision(),
                qformer_config=_QFORMER,
                text_config=_opt(w),
                num_query_tokens=4,
                image_token_index=w["<image>"],
            ),
            processor=lambda w: _qformer_processor(t.Blip2Processor, w),
            tokens={},
            more_tokens=("<image>",),
            image=None,
            plain=_asked,
            needs_picture=True,
        ),
        "blip-2-t5": Family(
            architecture="Blip2ForConditionalGeneration",
            config=lambda w: t.Blip2Config(
                vision_config=vision(),
                qformer_config=_QFORMER,
                text_config=_t5(w),
                num_query_tokens=4,
                image_token_index=w["<image>"],
            ),
            processor=lambda w: _qformer_processor(t.Blip2Processor, w),
            tokens={},
            more_tokens=("<image>",),
            image=None,
            plain=_asked,
            needs_picture=True,
        ),
        "instructblip": Family(
            architecture="InstructBlipForConditionalGeneration",
            config=lambda w: t.InstructBlipConfig(
                vision_config=vision(),
                qformer_config=_QFORMER,
                text_config=w.text("llama"),
                num_query_tokens=4,
                image_token_index=w["<image>"],
            ),
            processor=lambda w: _qformer_processor(
                t.InstructBlipProcessor, w, Words({}, (), bos=True).tokenizer
            ),
            tokens={},
            more_tokens=("<image>",),
            image=None,
            needs_picture=True,
        ),
        "git": Family(
            architecture="GitForCausalLM",
            config=lambda w: t.GitConfig(
                vision_config=vision(),
                **w.ids,
                hidden_size=64,
                intermediate_size=96,
                num_hidden_layers=2,
                num_attention_heads=4,
            ),
            processor=lambda w: t.GitProcessor(
                t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE), w.tokenizer
            ),
            tokens={},
            image=None,
        ),
        "chameleon": Family(
            architecture="ChameleonForConditionalGeneration",
            config=lambda w: t.ChameleonConfig(
                **w.text(),
                vq_config={
                    "embed_dim": 8,
                    "num_embeddings": 32,
                    "latent_channels": 8,
                    "resolution": 32,
                    "base_channels": 32,
                    "channel_multiplier": [1, 1],
                    "num_res_blocks": 1,
                },
                vocabulary_map={
                    "<image>": w["<image>"],
                    **{f"IMGIMG{_letters(n)}Z": w[f"IMGIMG{_letters(n)}Z"] for n in range(32)},
                },
            ),
            processor=lambda w: t.ChameleonProcessor(
                t.ChameleonImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE),
                w.tokenizer,
                image_seq_length=256,
            ),
            tokens={
                "image_token": "<image>",
                "boi_token": "<racm3:break>",
                "eoi_token": "<eoss>",
                "sep_token": "<reserved08706>",
            },
            more_tokens=tuple(f"IMGIMG{_letters(n)}Z" for n in range(32)),
            bos=True,
            image=None,
            plain=lambda text, pictured: f"{text}<image>" if pictured else text,
        ),
        "florence2": Family(
            architecture="Florence2ForConditionalGeneration",
            config=lambda w: t.Florence2Config(
                vision_config={
                    "depths": [1, 1],
                    "patch_size": [7, 3],
                    "patch_stride": [4, 2],
                    "patch_padding": [3, 1],
                    "patch_prenorm": [False, True],
                    "embed_dim": [16, 32],
                    "num_heads": [2, 2],
                    "num_groups": [2, 2],
                    "window_size": 4,
                    "projection_dim": 64,
                },
                text_config={
                    "model_type": "bart",
                    **w.ids,
                    "d_model": 64,
                    "encoder_layers": 2,
                    "decoder_layers": 2,
                    "encoder_attention_heads": 4,
                    "decoder_attention_heads": 4,
                    "encoder_ffn_dim": 96,
                    "decoder_ffn_dim": 96,
                    "decoder_start_token_id": 2,
                    "forced_eos_token_id": None,
                },
                image_token_id=w["<image>"],
                decoder_start_token_id=2,
            ),
            processor=lambda w: t.Florence2Processor(
                t.CLIPImageProcessorPil(size=_SQUARE, do_center_crop=False, image_seq_length=17),
                w.tokenizer,
            ),
            bos=True,
            image=None,
            std={"vision": 0.3, "embed_positions": 0.05, "encoder_attn": 1.0, "shared": 0.1},
            plain=lambda text, _: f"<VQA>{text}",
            needs_picture=True,
        ),
        "kosmos-2.5": Family(
            architecture="Kosmos2_5ForConditionalGeneration",
            config=lambda w: t.Kosmos2_5Config(
                text_config={
                    **w.ids,
                    "embed_dim": 64,
                    "layers": 2,
                    "ffn_dim": 96,
                    "attention_heads": 4,
                    "max_position_embeddings": 512,
                },
                vision_config={
                    "hidden_size": 32,
                    "patch_embed_hidden_size": 192,
                    "intermediate_size": 48,
                    "head_dim": 16,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 1,
                },
                latent_query_num=8,
            ),
            processor=lambda w: t.Kosmos2_5Processor(
                t.Kosmos2_5ImageProcessorPil(patch_size={"height": 8, "width": 8}, max_patches=48),
                w.tokenizer,
                num_image_tokens=8,
            ),
            tokens={"image_token": "<s>", "boi_token": "<image>", "eoi_token": "</image>"},
            image=None,
            plain=lambda text, _: (
                "<md>A chat between a curious user and an artificial intelligence assistant. The "
                "assistant gives helpful, detailed, and polite answers to the user's questions. "
                f"USER: {text} ASSISTANT:"
            ),
            pictures=3,
            flat_pictures=True,
            needs_picture=True,
        ),
        "idefics": Family(
            architecture="IdeficsForVisionText2Text",
            config=lambda w: t.IdeficsConfig(
                **w.text(),
                additional_vocab_size=0,
                vision_config={
                    "embed_dim": 32,
                    "image_size": 32,
                    "patch_size": 8,
                    "intermediate_size": 48,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                },
                use_resampler=True,
                perceiver_config={
                    "use_resampler": True,
                    "resampler_n_latents": 4,
                    "resampler_depth": 2,
                    "resampler_n_heads": 2,
                    "resampler_head_dim": 16,
                },
                alpha_initializer="ones",
                alpha_type="float",
            ),
            processor=lambda w: t.IdeficsProcessor(
                t.IdeficsImageProcessorPil(image_size=32), w.tokenizer
            ),
            tokens={},
            more_tokens=("<fake_token_around_image>", "<image>", "<end_of_utterance>"),
            bos=True,
            image=None,
            plain=lambda text, pictured: f"User:{'<image>' * pictured}{text}\nAssistant:",
            interleaved=True,
        ),
        "got_ocr2": Family(
            architecture="GotOcr2ForConditionalGeneration",
            config=lambda w: t.GotOcr2Config(
                vision_config={
                    "hidden_size": 32,
                    "output_channels": 16,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "image_size": 256,
                    "patch_size": 4,
                    "mlp_dim": 48,
                    "window_size": 4,
                    "global_attn_indexes": [1],
                },
                text_config=w.text("qwen2"),
                image_token_index=w["<imgpad>"],
                image_seq_length=256,
            ),
            processor=lambda w: t.GotOcr2Processor(
                t.GotOcr2ImageProcessorPil(size={"height": 256, "width": 256}), w.tokenizer
            ),
            tokens={},
            more_tokens=("<imgpad>", "<img>", "</img>", "<|im_start|>", "<|im_end|>"),
            image=None,
            plain=lambda text, _: (
                "<|im_start|>system\nYou should follow the instructions carefully and explain your "
                "answers in detail.<|im_end|><|im_start|>user\n<img><imgpad></img>\n"
                f"{text}<|im_end|><|im_start|>assistant\n"
            ),
            flat_pictures=True,
            pictures=4,
            needs_picture=True,
        ),
        "fuyu": Family(
            architecture="FuyuForCausalLM",
            config=lambda w: t.FuyuConfig(
                **w.ids,
                text_config=w.text("persimmon"),
                patch_size=8,
                image_token_id=w["|SPEAKER|"],
            ),
            processor=lambda w: t.FuyuProcessor(
                t.FuyuImageProcessorPil(
                    size={"height": 64, "width": 64}, patch_size={"height": 8, "width": 8}
                ),
                _fuyu_tokenizer(w),
            ),
            tokens={},
            more_tokens=("|SPEAKER|", "|NEWLINE|", *(f"<0x0{n}>" for n in range(5))),
            image=None,
            plain=lambda text, _: f"{text}\n",
            flat_pictures=True,
            repair=_fuyu_patches,
            arguments={"return_legacy_image_output": False},
        ),
    }
)
