"""The dozen families that are used most, one row each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import transformers as t

from tests.families.checkpoint import Family, Video, vision

_SQUARE = {"height": 32, "width": 32}
QWEN_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_QWEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_SMOL_TOKENS = (
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
    *(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)),
)


def qwen_ids(w):
    return {name: w[QWEN_TOKENS[name.removesuffix("_id")]] for name in _QWEN_IDS}


def qwen_pixels():
    return t.Qwen2VLImageProcessorPil(
        patch_size=8,
        temporal_patch_size=2,
        merge_size=2,
        size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64},
    )


def _qwen_rope(*sections):
    return {"rope_type": "default", "mrope_section": list(sections), "rope_theta": 10000.0}


def _pixtral():
    """The package: `transformers` has a placeholder where torchvision is not installed."""
    return importlib.import_module("transformers.models.pixtral")


DOZEN: Mapping[str, Family] = MappingProxyType(
    {
        "idefics3": Family(
            architecture="Idefics3ForConditionalGeneration",
            config=lambda w: t.Idefics3Config(
                vision_config=vision(),
                text_config=w.text("llama"),
                image_token_id=w["<image>"],
                scale_factor=2,
            ),
            processor=lambda w: t.Idefics3Processor(
                image_processor=t.Idefics3ImageProcessorPil(
                    size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
                ),
                tokenizer=w.tokenizer,
                image_seq_len=4,
            ),
            more_tokens=_SMOL_TOKENS,
            bos=True,
        ),
        "smolvlm": Family(
            architecture="SmolVLMForConditionalGeneration",
            config=lambda w: t.SmolVLMConfig(
                vision_config=vision(),
                text_config=w.text("llama"),
                image_token_id=w["<image>"],
                scale_factor=2,
            ),
            processor=lambda w: t.SmolVLMProcessor(
                image_processor=t.SmolVLMImageProcessorPil(
                    size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
                ),
                tokenizer=w.tokenizer,
                video_processor=Video(),
                image_seq_len=4,
            ),
            more_tokens=_SMOL_TOKENS,
            video="SmolVLMVideoProcessor",
        ),
        "qwen2_vl": Family(
            architecture="Qwen2VLForConditionalGeneration",
            config=lambda w: t.Qwen2VLConfig(
                vision_config={
                    "depth": 2,
                    "embed_dim": 32,
                    "hidden_size": 64,
                    "num_heads": 2,
                    "mlp_ratio": 2,
                    "patch_size": 8,
                },
                text_config=w.text(rope_parameters=_qwen_rope(2, 3, 3)),
                **qwen_ids(w),
            ),
            processor=lambda w: t.Qwen2VLProcessor(qwen_pixels(), w.tokenizer, Video()),
            tokens=QWEN_TOKENS,
            image=QWEN_IMAGE,
            video="Qwen2VLVideoProcessor",
            image_processor="Qwen2VLImageProcessor",
        ),
        "qwen2_5_vl": Family(
            architecture="Qwen2_5_VLForConditionalGeneration",
            config=lambda w: t.Qwen2_5_VLConfig(
                vision_config={
                    "depth": 2,
                    "hidden_size": 32,
                    "out_hidden_size": 64,
                    "intermediate_size": 48,
                    "num_heads": 2,
                    "patch_size": 8,
                    "window_size": 32,
                    "fullatt_block_indexes": [1],
                },
                text_config=w.text(rope_parameters=_qwen_rope(2, 3, 3)),
                **qwen_ids(w),
            ),
            processor=lambda w: t.Qwen2_5_VLProcessor(qwen_pixels(), w.tokenizer, Video()),
            tokens=QWEN_TOKENS,
            image=QWEN_IMAGE,
            video="Qwen2VLVideoProcessor",
            image_processor="Qwen2VLImageProcessorFast",
        ),
        "qwen3_vl": Family(
            architecture="Qwen3VLForConditionalGeneration",
            config=lambda w: t.Qwen3VLConfig(
                vision_config={
                    "depth": 2,
                    "hidden_size": 32,
                    "out_hidden_size": 64,
                    "intermediate_size": 48,
                    "num_heads": 2,
                    "patch_size": 8,
                    "num_position_embeddings": 64,
                    "deepstack_visual_indexes": [0, 1],
                },
                text_config=w.text(
                    head_dim=16,
                    rope_parameters={**_qwen_rope(3, 3, 2), "mrope_interleaved": True},
                ),
                **qwen_ids(w),
            ),
            processor=lambda w: t.Qwen3VLProcessor(qwen_pixels(), w.tokenizer, Video()),
            tokens=QWEN_TOKENS,
            image=QWEN_IMAGE,
            video="Qwen3VLVideoProcessor",
            image_processor="Qwen2VLImageProcessorFast",
        ),
        "internvl": Family(
            architecture="InternVLForConditionalGeneration",
            config=lambda w: t.InternVLConfig(
                vision_config=vision(image_size=[32, 32], patch_size=[8, 8]),
                text_config=w.text("qwen2"),
                image_token_id=w["<IMG_CONTEXT>"],
            ),
            processor=lambda w: t.InternVLProcessor(
                t.GotOcr2ImageProcessorPil(size=_SQUARE, crop_to_patches=True, max_patches=4),
                w.tokenizer,
                Video(),
                image_seq_length=4,
            ),
            tokens={
                "start_image_token": "<img>",
                "end_image_token": "</img>",
                "context_image_token": "<IMG_CONTEXT>",
                "video_token": "<video>",
            },
            image="<IMG_CONTEXT>\n",
            video="InternVLVideoProcessor",
            image_processor="GotOcr2ImageProcessorFast",
        ),
        "llava_onevision": Family(
            architecture="LlavaOnevisionForConditionalGeneration",
            config=lambda w: t.LlavaOnevisionConfig(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                text_config=w.text("qwen2"),
                image_token_index=w["<image>"],
                video_token_index=w["<video>"],
                image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
            ),
            processor=lambda w: t.LlavaOnevisionProcessor(
                t.LlavaOnevisionImageProcessorPil(
                    size=_SQUARE, image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]]
                ),
                w.tokenizer,
                Video(),
                num_image_tokens=16,
                vision_feature_select_strategy="full",
            ),
            tokens={"image_token": "<image>", "video_token": "<video>"},
            image="<image>\n",
            video="LlavaOnevisionVideoProcessor",
        ),
        "gemma3": Family(
            architecture="Gemma3ForConditionalGeneration",
            config=lambda w: t.Gemma3Config(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                text_config=w.text(
                    head_dim=16,
                    sliding_window=16,
                    layer_types=["sliding_attention", "full_attention"],
                    query_pre_attn_scalar=1,
                ),
                mm_tokens_per_image=4,
                boi_token_index=w["<start_of_image>"],
                eoi_token_index=w["<end_of_image>"],
                image_token_index=w["<image_soft_token>"],
                eos_token_id=2,
            ),
            processor=lambda w: t.Gemma3Processor(
                t.Gemma3ImageProcessorPil(size=_SQUARE), w.tokenizer, image_seq_length=4
            ),
            tokens={
                "boi_token": "<start_of_image>",
                "eoi_token": "<end_of_image>",
                "image_token": "<image_soft_token>",
            },
            bos=True,
            image="<start_of_image>",
            std={"embed_tokens": 0.05},
        ),
        "paligemma": Family(
            architecture="PaliGemmaForConditionalGeneration",
            config=lambda w: t.PaliGemmaConfig(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                text_config=w.text("gemma", head_dim=16, vocab_size=len(w.tokenizer) + 1153),
                image_token_index=w["<image>"],
                projection_dim=64,
                hidden_size=64,
                pad_token_id=3,
                eos_token_id=2,
            ),
            processor=lambda w: t.PaliGemmaProcessor(
                t.SiglipImageProcessorPil(size=_SQUARE, image_seq_length=16), w.tokenizer
            ),
            bos=True,
            image=None,
            plain=lambda text, _: text,  # the processor adds image tokens, <bos> and the newline
            needs_picture=True,
        ),
        "mistral3": Family(
            architecture="Mistral3ForConditionalGeneration",
            config=lambda w: t.Mistral3Config(
                vision_config=vision("pixtral", head_dim=16),
                text_config=w.text("mistral", sliding_window=None),
                image_token_index=w["[IMG]"],
                spatial_merge_size=2,
                vision_feature_layer=-1,
            ),
            processor=lambda w: _pixtral().PixtralProcessor(
                t.PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size=8),
                w.tokenizer,
                patch_size=8,
                spatial_merge_size=2,
            ),
            tokens={},
            more_tokens=("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
            bos=True,
            image="[IMG]",
            image_processor="PixtralImageProcessorFast",
        ),
        "pixtral": Family(
            architecture="LlavaForConditionalGeneration",
            config=lambda w: t.LlavaConfig(
                vision_config=vision("pixtral", head_dim=16),
                text_config=w.text("mistral", sliding_window=None),
                image_token_index=w["[IMG]"],
                vision_feature_layer=-1,
                vision_feature_select_strategy="full",
            ),
            processor=lambda w: _pixtral().PixtralProcessor(
                t.PixtralImageProcessorPil(size={"longest_edge": 48}, patch_size=8),
                w.tokenizer,
                patch_size=8,
            ),
            tokens={},
            more_tokens=("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
            bos=True,
            image="[IMG]",
            image_processor="PixtralImageProcessor",
        ),
        "llava": Family(
            architecture="LlavaForConditionalGeneration",
            config=lambda w: t.LlavaConfig(
                vision_config=vision("clip_vision_model", projection_dim=32),
                text_config=w.text("llama"),
                image_token_index=w["<image>"],
            ),
            processor=lambda w: t.LlavaProcessor(
                t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE),
                w.tokenizer,
                patch_size=8,
                vision_feature_select_strategy="default",
                num_additional_image_tokens=1,
            ),
            bos=True,
            image="<image>\n",
        ),
        "llava_next": Family(
            architecture="LlavaNextForConditionalGeneration",
            config=lambda w: t.LlavaNextConfig(
                vision_config=vision("clip_vision_model", projection_dim=32),
                text_config=w.text("mistral", sliding_window=None),
                image_token_index=w["<image>"],
                image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
            ),
            processor=lambda w: t.LlavaNextProcessor(
                t.LlavaNextImageProcessorPil(
                    size={"shortest_edge": 32},
                    crop_size=_SQUARE,
                    image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
                ),
                w.tokenizer,
                patch_size=8,
                vision_feature_select_strategy="default",
                num_additional_image_tokens=1,
            ),
            bos=True,
            image="<image>\n",
        ),
        "idefics2": Family(
            architecture="Idefics2ForConditionalGeneration",
            config=lambda w: t.Idefics2Config(
                vision_config=vision(),
                perceiver_config={
                    "hidden_size": 64,
                    "resampler_n_latents": 4,
                    "resampler_depth": 2,
                    "resampler_n_heads": 4,
                    "resampler_head_dim": 16,
                    "num_key_value_heads": 2,
                },
                text_config=w.text("mistral", sliding_window=None),
                image_token_id=w["<image>"],
            ),
            processor=lambda w: t.Idefics2Processor(
                t.Idefics2ImageProcessorPil(
                    size={"shortest_edge": 24, "longest_edge": 32}, do_image_splitting=False
                ),
                w.tokenizer,
                image_seq_len=4,
            ),
            tokens={"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"},
            more_tokens=("<end_of_utterance>",),
            bos=True,
        ),
    }
)
