"""More families that come with a chat template, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import transformers as t

from tests.families.checkpoint import Family, Video, Words, vision
from tests.families.dozen import DOZEN, QWEN_IMAGE, QWEN_TOKENS, qwen_ids, qwen_pixels

_SQUARE = {"height": 32, "width": 32}
_PINPOINTS = [[32, 64], [64, 32], [64, 64]]
_GLM_TOKENS = {"image_token": "<|image|>", "video_token": "<|video|>"}
_GLM_MORE = (
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)
_GLM_IMAGE = "<|begin_of_image|><|image|><|end_of_image|>"
_GLM_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "out_hidden_size": 64,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 8,
    "image_size": 32,
}
_GLM_SIZE = {"shortest_edge": 512, "longest_edge": 64 * 64 * 2}
GEMMA_TOKENS = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "audio_token": "<audio_soft_token>",
    "boa_token": "<start_of_audio>",
    "eoa_token": "<end_of_audio>",
}


def _glm_ids(w: Words) -> dict[str, int]:
    return {
        "image_token_id": w["<|image|>"],
        "video_token_id": w["<|video|>"],
        "image_start_token_id": w["<|begin_of_image|>"],
        "image_end_token_id": w["<|end_of_image|>"],
        "video_start_token_id": w["<|begin_of_video|>"],
        "video_end_token_id": w["<|end_of_video|>"],
    }


def _glm_text(w: Words, **more: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    return w.text(rope_parameters={**rope, "partial_rotary_factor": 1.0}, head_dim=16, **more)


def _llava_next_pixels() -> Any:
    return t.LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=_SQUARE, image_grid_pinpoints=_PINPOINTS
    )


TEMPLATED: Mapping[str, Family] = MappingProxyType(
    {
        "glm4v": Family(
            architecture="Glm4vForConditionalGeneration",
            config=lambda w: t.Glm4vConfig(
                vision_config=_GLM_VISION, text_config=_glm_text(w), **_glm_ids(w)
            ),
            processor=lambda w: t.Glm4vProcessor(
                t.Glm4vImageProcessorPil(patch_size=8, size=_GLM_SIZE), w.tokenizer, Video()
            ),
            tokens=_GLM_TOKENS,
            more_tokens=_GLM_MORE,
            image=_GLM_IMAGE,
            video="Glm4vVideoProcessor",
        ),
        "glm46v": Family(
            architecture="Glm46VForConditionalGeneration",
            config=lambda w: t.Glm46VConfig(
                vision_config={**_GLM_VISION, "model_type": "glm4v_vision"},
                text_config={**_glm_text(w), "model_type": "glm4v_text"},
                **_glm_ids(w),
            ),
            processor=lambda w: t.Glm46VProcessor(
                t.Glm46VImageProcessorPil(patch_size=8, size=_GLM_SIZE), w.tokenizer, Video()
            ),
            tokens=_GLM_TOKENS,
            more_tokens=_GLM_MORE,
            image=_GLM_IMAGE,
            video="Glm46VVideoProcessor",
        ),
        "glm4v_moe": Family(
            architecture="Glm4vMoeForConditionalGeneration",
            config=lambda w: t.Glm4vMoeConfig(
                vision_config=_GLM_VISION,
                text_config=_glm_text(
                    w,
                    n_routed_experts=4,
                    num_experts_per_tok=2,
                    n_shared_experts=1,
                    moe_intermediate_size=32,
                    first_k_dense_replace=1,
                ),
                **_glm_ids(w),
            ),
            processor=lambda w: t.Glm4vProcessor(
                t.Glm4vImageProcessorPil(patch_size=8, size=_GLM_SIZE), w.tokenizer, Video()
            ),
            tokens=_GLM_TOKENS,
            more_tokens=_GLM_MORE,
            image=_GLM_IMAGE,
            video="Glm4vVideoProcessor",
        ),
        "video_llama_3": Family(
            architecture="VideoLlama3ForConditionalGeneration",
            config=lambda w: t.VideoLlama3Config(
                vision_config={
                    "hidden_size": 32,
                    "intermediate_size": 48,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "patch_size": 8,
                },
                text_config=w.text("qwen2"),
                image_token_id=w["<image>"],
                video_token_id=w["<video>"],
            ),
            processor=lambda w: t.VideoLlama3Processor(
                t.VideoLlama3ImageProcessorPil(
                    patch_size=8,
                    merge_size=1,
                    size={"shortest_edge": 16 * 16, "longest_edge": 48 * 48},
                ),
                w.tokenizer,
                Video(),
            ),
            tokens={"image_token": "<image>", "video_token": "<video>"},
            video="VideoLlama3VideoProcessor",
        ),
        "qwen3_vl_moe": Family(
            architecture="Qwen3VLMoeForConditionalGeneration",
            config=lambda w: t.Qwen3VLMoeConfig(
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
                    num_experts=4,
                    num_experts_per_tok=2,
                    moe_intermediate_size=32,
                    rope_parameters={
                        "rope_type": "default",
                        "mrope_section": [3, 3, 2],
                        "mrope_interleaved": True,
                        "rope_theta": 10000.0,
                    },
                ),
                **qwen_ids(w),
            ),
            processor=DOZEN["qwen3_vl"].processor,
            tokens=QWEN_TOKENS,
            image=QWEN_IMAGE,
            video="Qwen3VLVideoProcessor",
            image_processor="Qwen2VLImageProcessorFast",
        ),
        "qwen3_5": Family(
            architecture="Qwen3_5ForConditionalGeneration",
            config=lambda w: t.Qwen3_5Config(
                vision_config={
                    "depth": 2,
                    "hidden_size": 32,
                    "out_hidden_size": 64,
                    "intermediate_size": 48,
                    "num_heads": 2,
                    "patch_size": 8,
                    "num_position_embeddings": 64,
                },
                text_config=w.text(
                    head_dim=16,
                    linear_key_head_dim=8,
                    linear_value_head_dim=8,
                    linear_num_key_heads=2,
                    linear_num_value_heads=4,
                    layer_types=["linear_attention", "full_attention"],
                    rope_parameters={
                        "rope_type": "default",
                        "mrope_section": [3, 3, 2],
                        "mrope_interleaved": True,
                        "rope_theta": 10000.0,
                        "partial_rotary_factor": 1.0,
                    },
                ),
                **qwen_ids(w),
            ),
            processor=lambda w: t.Qwen3VLProcessor(qwen_pixels(), w.tokenizer, Video()),
            tokens=QWEN_TOKENS,
            image=QWEN_IMAGE,
            std={"self_attn": 0.8},
            video="Qwen3VLVideoProcessor",
            image_processor="Qwen2VLImageProcessorFast",
        ),
        "gemma4": Family(
            architecture="Gemma4ForConditionalGeneration",
            config=lambda w: t.Gemma4Config(
                vision_config=vision(head_dim=16, num_key_value_heads=2, pooling_kernel_size=2),
                text_config=w.text(
                    head_dim=16,
                    global_head_dim=16,
                    sliding_window=16,
                    layer_types=["sliding_attention", "full_attention"],
                    hidden_size_per_layer_input=8,
                    vocab_size_per_layer_input=len(w.tokenizer),
                ),
                audio_config=None,
                image_token_id=w["<image_soft_token>"],
                boi_token_id=w["<start_of_image>"],
                eoi_token_id=w["<end_of_image>"],
                audio_token_id=w["<audio_soft_token>"],
                video_token_id=w["<|video|>"],
                boa_token_id=w["<start_of_audio>"],
                eoa_token_index=w["<end_of_audio>"],
            ),
            processor=lambda w: t.Gemma4Processor(
                t.Gemma4AudioFeatureExtractor(),
                t.Gemma4ImageProcessorPil(patch_size=8, pooling_kernel_size=2, max_soft_tokens=70),
                w.tokenizer,
                Video(),
            ),
            tokens=GEMMA_TOKENS,
            more_tokens=("<|video|>",),
            bos=True,
            image="<image_soft_token>",
            video="Gemma4VideoProcessor",
            nested=True,
            std={"embed_tokens": 0.02},
        ),
        "aya_vision": Family(
            architecture="AyaVisionForConditionalGeneration",
            config=lambda w: t.AyaVisionConfig(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                text_config=w.text("cohere2", layer_types=["sliding_attention", "full_attention"]),
                image_token_index=w["<|IMG_PATCH|>"],
            ),
            processor=lambda w: t.AyaVisionProcessor(
                t.GotOcr2ImageProcessorPil(size=_SQUARE, crop_to_patches=True, max_patches=4),
                w.tokenizer,
                patch_size=8,
                img_size=32,
                downsample_factor=2,
            ),
            more_tokens=(
                "<|START_OF_IMG|>",
                "<|END_OF_IMG|>",
                "<|IMG_PATCH|>",
                "<|IMG_LINE_BREAK|>",
                "TILE",
                "TILE_GLOBAL",
                *(f"TILE_{n}" for n in range(1, 13)),
            ),
            bos=True,
            image_processor="GotOcr2ImageProcessorFast",
            std={"embed_tokens": 0.1},
        ),
        "ovis2": Family(
            architecture="Ovis2ForConditionalGeneration",
            config=lambda w: t.Ovis2Config(
                vision_config=vision(vocab_size=64, hidden_stride=2),
                text_config=w.text("qwen2"),
                image_token_id=w["<IMG_ATOM>"],
                visual_indicator_token_ids=[
                    w[f"<IMG_{name}>"] for name in ("START", "GRID", "COL", "ROW", "END")
                ],
                vocab_size=len(w.tokenizer),
                hidden_size=64,
            ),
            processor=lambda w: t.Ovis2Processor(
                t.Ovis2ImageProcessorPil(size=_SQUARE, crop_to_patches=True, max_patches=4),
                w.tokenizer,
                image_seq_length=4,
            ),
            more_tokens=(
                "<IMG_ATOM>",
                "<IMG_START>",
                "<IMG_GRID>",
                "<IMG_COL>",
                "<IMG_ROW>",
                "<IMG_END>",
            ),
            image="<image>\n",
        ),
        "deepseek_vl": Family(
            architecture="DeepseekVLForConditionalGeneration",
            config=lambda w: t.DeepseekVLConfig(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                text_config=w.text("llama"),
                image_token_id=w["<image_placeholder>"],
            ),
            processor=lambda w: t.DeepseekVLProcessor(
                t.DeepseekVLImageProcessorPil(size=_SQUARE), w.tokenizer, num_image_tokens=16
            ),
            tokens={"image_token": "<image_placeholder>"},
            bos=True,
            image="<image_placeholder>",
        ),
        "deepseek_vl_hybrid": Family(
            architecture="DeepseekVLHybridForConditionalGeneration",
            config=lambda w: t.DeepseekVLHybridConfig(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                high_res_vision_config={
                    "model_type": "sam_vision_model",
                    "hidden_size": 32,
                    "output_channels": 16,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "image_size": 64,
                    "patch_size": 8,
                    "window_size": 4,
                    "global_attn_indexes": [0, 1],
                    "mlp_dim": 48,
                },
                text_config=w.text("llama"),
                image_token_id=w["<image_placeholder>"],
            ),
            processor=lambda w: t.DeepseekVLHybridProcessor(
                t.DeepseekVLHybridImageProcessorPil(
                    size=_SQUARE, high_res_size={"height": 64, "width": 64}
                ),
                w.tokenizer,
                num_image_tokens=16,
            ),
            tokens={"image_token": "<image_placeholder>"},
            bos=True,
            image="<image_placeholder>",
        ),
        "paddleocr_vl": Family(
            architecture="PaddleOCRVLForConditionalGeneration",
            config=lambda w: t.PaddleOCRVLConfig(
                vision_config=vision(),
                text_config=w.text(
                    head_dim=16,
                    rope_parameters={
                        "rope_type": "default",
                        "mrope_section": [2, 3, 3],
                        "rope_theta": 10000.0,
                    },
                ),
                image_token_id=w["<|IMAGE_PLACEHOLDER|>"],
                video_token_id=w["<|video_pad|>"],
                vision_start_token_id=w["<|IMAGE_START|>"],
                vision_end_token_id=w["<|IMAGE_END|>"],
            ),
            processor=lambda w: t.PaddleOCRVLProcessor(
                t.PaddleOCRVLImageProcessorPil(
                    patch_size=8,
                    merge_size=2,
                    size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64},
                ),
                w.tokenizer,
            ),
            tokens={"image_token": "<|IMAGE_PLACEHOLDER|>"},
            more_tokens=("<|IMAGE_START|>", "<|IMAGE_END|>", "<|video_pad|>"),
            image="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        ),
        "granite4_vision": Family(
            architecture="Granite4VisionForConditionalGeneration",
            config=lambda w: t.Granite4VisionConfig(
                vision_config=vision("siglip_vision_model", hidden_size=64, vision_use_head=False),
                text_config=w.text(),
                image_token_index=w["<image>"],
                image_grid_pinpoints=_PINPOINTS,
                vision_feature_select_strategy="full",
                downsample_rate="2/4",
                deepstack_layer_map=[[-1, 0]],
                qformer_config={
                    "num_hidden_layers": 1,
                    "intermediate_size": 48,
                    "cross_attention_frequency": 1,
                },
            ),
            processor=lambda w: t.Granite4VisionProcessor(
                _llava_next_pixels(),
                w.tokenizer,
                patch_size=8,
                vision_feature_select_strategy="full",
                downsample_rate="2/4",
            ),
            image="<image>\n",
        ),
        "aria": Family(
            architecture="AriaForConditionalGeneration",
            config=lambda w: t.AriaConfig(
                vision_config=vision("idefics3_vision", image_size=980, patch_size=70),
                text_config=w.text("aria_text", moe_num_experts=4, moe_topk=2),
                image_token_index=w["<|img|>"],
                projector_patch_to_query_dict={196: 4},
            ),
            processor=lambda w: t.AriaProcessor(
                t.AriaImageProcessorPil(),
                w.tokenizer,
                size_conversion={490: 2, 980: 4},
            ),
            tokens={"image_token": "<|img|>"},
            image="<|img|>",
        ),
        "vipllava": Family(
            architecture="VipLlavaForConditionalGeneration",
            config=lambda w: t.VipLlavaConfig(
                vision_config=vision("clip_vision_model", projection_dim=32),
                text_config=w.text("llama"),
                image_token_index=w["<image>"],
                vision_feature_layer=[-2, -1, 1],
            ),
            processor=DOZEN["llava"].processor,
            bos=True,
            image="<image>\n",
        ),
        "llava_next_video": Family(
            architecture="LlavaNextVideoForConditionalGeneration",
            config=lambda w: t.LlavaNextVideoConfig(
                vision_config=vision("clip_vision_model", projection_dim=32),
                text_config=w.text("llama"),
                image_token_index=w["<image>"],
                video_token_index=w["<video>"],
                image_grid_pinpoints=_PINPOINTS,
            ),
            processor=lambda w: t.LlavaNextVideoProcessor(
                Video(),
                _llava_next_pixels(),
                w.tokenizer,
                patch_size=8,
                vision_feature_select_strategy="default",
                num_additional_image_tokens=1,
            ),
            tokens={"image_token": "<image>", "video_token": "<video>"},
            bos=True,
            image="<image>\n",
            video="LlavaNextVideoVideoProcessor",
        ),
        "janus": Family(
            architecture="JanusForConditionalGeneration",
            config=lambda w: t.JanusConfig(
                vision_config={
                    "hidden_size": 32,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "mlp_ratio": 2,
                    "image_size": 32,
                    "patch_size": 8,
                    "projection_dim": 64,
                    "num_image_tokens": 16,
                },
                text_config=w.text("llama"),
                vq_config={
                    "embed_dim": 8,
                    "num_embeddings": 16,
                    "latent_channels": 8,
                    "base_channels": 32,
                    "channel_multiplier": [1, 1],
                    "num_res_blocks": 1,
                    "num_patches": 4,
                    "projection_dim": 64,
                    "image_token_embed_dim": 64,
                },
                image_token_id=w["<image_placeholder>"],
            ),
            processor=lambda w: t.JanusProcessor(
                t.JanusImageProcessorPil(size=_SQUARE, min_size=8), w.tokenizer, num_image_tokens=16
            ),
            tokens={
                "image_token": "<image_placeholder>",
                "boi_token": "<begin_of_image>",
                "eoi_token": "<end_of_image>",
            },
            bos=True,
            image="<image_placeholder>\n",
        ),
        "emu3": Family(
            architecture="Emu3ForConditionalGeneration",
            config=lambda w: t.Emu3Config(
                vq_config={
                    "codebook_size": 32,
                    "embed_dim": 4,
                    "latent_channels": 4,
                    "temporal_downsample_factor": 1,
                    "base_channels": 32,
                    "channel_multiplier": [1, 1, 1, 1],
                    "num_res_blocks": 1,
                    "hidden_size": 32,
                    "attn_resolutions": [],
                },
                text_config=w.text(),
                vocabulary_map={
                    "<image>": w["<image>"],
                    "<|extra_200|>": w["<|extra_200|>"],
                    **{
                        f"<|visual token {n:06d}|>": w[f"<|visual token {n:06d}|>"]
                        for n in range(32)
                    },
                },
            ),
            processor=lambda w: t.Emu3Processor(
                t.Emu3ImageProcessor(min_pixels=32 * 32, max_pixels=64 * 64, spatial_factor=8),
                w.tokenizer,
            ),
            tokens={
                "image_token": "<image>",
                "boi_token": "<|image start|>",
                "eoi_token": "<|image end|>",
                "image_wrapper_token": "<|image token|>",
                "eof_token": "<|extra_201|>",
                "eol_token": "<|extra_200|>",
            },
            more_tokens=tuple(f"<|visual token {n:06d}|>" for n in range(32)),
            bos=True,
        ),
        "lighton_ocr": Family(
            architecture="LightOnOcrForConditionalGeneration",
            config=lambda w: t.LightOnOcrConfig(
                vision_config=vision("pixtral", head_dim=16),
                text_config=w.text("qwen3", head_dim=16),
                image_token_id=w["<|image_pad|>"],
                spatial_merge_size=2,
            ),
            processor=lambda w: t.LightOnOcrProcessor(
                t.PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size=8),
                w.tokenizer,
                patch_size=8,
                spatial_merge_size=2,
            ),
            tokens={
                "image_token": "<|image_pad|>",
                "image_break_token": "<|vision_pad|>",
                "image_end_token": "<|vision_end|>",
            },
            image="<|image_pad|>",
            image_processor="PixtralImageProcessorFast",
        ),
    }
)
