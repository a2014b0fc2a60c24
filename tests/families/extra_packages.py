"""Families that need packages which the plain install has not, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import transformers as t

from tests.families.checkpoint import Family, Video, vision
from tests.families.templated import GEMMA_TOKENS


def _llama4_output(_processor: Any, model: Any) -> None:
    """Its forward pass copies a field which the language model's output has not."""
    model.language_model.register_forward_hook(
        lambda _module, _inputs, output: setattr(output, "image_outputs", None)
    )


EXTRA_PACKAGES: Mapping[str, Family] = MappingProxyType(
    {
        "lfm2_vl": Family(
            architecture="Lfm2VlForConditionalGeneration",
            config=lambda w: t.Lfm2VlConfig(
                vision_config=vision("siglip2_vision_model", num_patches=64),
                text_config=w.text("lfm2", layer_types=["conv", "full_attention"]),
                image_token_id=w["<image>"],
                projector_hidden_size=48,
            ),
            processor=lambda w: t.Lfm2VlProcessor(
                t.Lfm2VlImageProcessor(
                    encoder_patch_size=8,
                    tile_size=32,
                    max_tiles=4,
                    min_image_tokens=4,
                    max_image_tokens=16,
                    do_image_splitting=True,
                ),
                w.tokenizer,
            ),
            more_tokens=(
                "<|image_start|>",
                "<|image_end|>",
                "<|img_thumbnail|>",
                *(f"<|img_row_{r}_col_{c}|>" for r in range(1, 5) for c in range(1, 5)),
            ),
            bos=True,
            image_processor="Lfm2VlImageProcessorFast",
            std={"embed_tokens": 0.05, "conv": 0.1, "self_attn": 0.8},
            packages=("torchvision",),
        ),
        "cohere2_vision": Family(
            architecture="Cohere2VisionForConditionalGeneration",
            config=lambda w: t.Cohere2VisionConfig(
                vision_config=vision("siglip_vision_model", vision_use_head=False),
                text_config=w.text("cohere2", layer_types=["sliding_attention", "full_attention"]),
                image_token_id=w["<|IMG_PATCH|>"],
                alignment_intermediate_size=64,
            ),
            processor=lambda w: t.Cohere2VisionProcessor(
                t.Cohere2VisionImageProcessor(
                    size={"height": 32, "width": 32}, max_patches=4, patch_size=2
                ),
                w.tokenizer,
            ),
            tokens={
                "image_token": "<|IMG_PATCH|>",
                "boi_token": "<|START_OF_IMG|>",
                "eoi_token": "<|END_OF_IMG|>",
                "img_line_break_token": "<|IMG_LINE_BREAK|>",
            },
            bos=True,
            image="<|IMG_PATCH|>",
            image_processor="Cohere2VisionImageProcessorFast",
            std={"embed_tokens": 0.1},
            packages=("torchvision",),
        ),
        "llama4": Family(
            architecture="Llama4ForConditionalGeneration",
            config=lambda w: t.Llama4Config(
                vision_config=vision(
                    intermediate_size=128,
                    vision_output_dim=64,
                    projector_input_dim=64,
                    projector_output_dim=64,
                ),
                text_config=w.text(
                    num_hidden_layers=4, head_dim=16, intermediate_size_mlp=64, num_local_experts=2
                ),
                image_token_index=w["<|patch|>"],
                boi_token_index=w["<|image_start|>"],
                eoi_token_index=w["<|image_end|>"],
            ),
            processor=lambda w: t.Llama4Processor(
                t.Llama4ImageProcessor(size={"height": 32, "width": 32}, max_patches=4),
                w.tokenizer,
                patch_size=8,
            ),
            tokens={},
            more_tokens=(
                "<|image|>",
                "<|image_start|>",
                "<|image_end|>",
                "<|patch|>",
                "<|tile_x_separator|>",
                "<|tile_y_separator|>",
            ),
            bos=True,
            image="<|image|>",
            image_processor="Llama4ImageProcessorFast",
            packages=("torchvision",),
            repair=_llama4_output,
        ),
        "perception_lm": Family(
            architecture="PerceptionLMForConditionalGeneration",
            config=lambda w: t.PerceptionLMConfig(
                vision_config={
                    "model_type": "timm_wrapper",
                    "architecture": "vit_pe_core_large_patch14_336",
                    "num_classes": 0,
                    "global_pool": "map",
                    "model_args": {
                        "embed_dim": 32,
                        "img_size": [32, 32],
                        "patch_size": 8,
                        "depth": 2,
                        "num_heads": 2,
                        "global_pool": "",
                        "use_post_transformer_norm": False,
                        "init_values": 0.1,
                        "ref_feat_shape": [4, 4],
                    },
                    "hidden_size": 32,
                },
                text_config=w.text("llama"),
                vision_use_cls_token=True,
                projector_pooling_ratio=2,
                image_token_id=w["<|image|>"],
                video_token_id=w["<|video|>"],
            ),
            processor=lambda w: t.PerceptionLMProcessor(
                Video(),
                t.PerceptionLMImageProcessor(tile_size=32, max_num_tiles=4),
                w.tokenizer,
                patch_size=8,
                pooling_ratio=2,
            ),
            tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
            bos=True,
            image="<|image|>",
            image_processor="PerceptionLMImageProcessorFast",
            video="PerceptionLMVideoProcessor",
            packages=("torchvision", "timm"),
        ),
        "fast_vlm": Family(
            architecture="FastVlmForConditionalGeneration",
            config=lambda w: t.FastVlmConfig(
                vision_config={
                    "model_type": "timm_wrapper",
                    "architecture": "fastvit_mci3",
                    "do_pooling": True,
                    "global_pool": "avg",
                    "hidden_size": 64,
                    "model_args": {
                        "inference_mode": True,
                        "layers": [1, 1, 1, 1, 1],
                        "embed_dims": [16, 16, 32, 32, 32],
                        "mlp_ratios": [2, 2, 2, 2, 2],
                    },
                },
                text_config=w.text("qwen2"),
                image_token_index=w["<image>"],
                image_seq_length=4,
            ),
            processor=lambda w: t.LlavaProcessor(
                t.CLIPImageProcessorPil(
                    size={"shortest_edge": 128}, crop_size={"height": 128, "width": 128}
                ),
                w.tokenizer,
                patch_size=64,
                vision_feature_select_strategy="full",
                num_additional_image_tokens=0,
            ),
            image="<image>\n",
            image_processor="CLIPImageProcessor",
            packages=("timm",),
        ),
        "gemma3n": Family(
            architecture="Gemma3nForConditionalGeneration",
            config=lambda w: t.Gemma3nConfig(
                vision_config={
                    "architecture": "mobilenetv5_300m_enc",
                    "hidden_size": 2048,
                    "model_args": {"channel_multiplier": 0.03, "msfa_output_resolution": 4},
                    "vocab_offset": len(w.tokenizer),
                    "vocab_size": 8,
                },
                audio_config={
                    "hidden_size": 32,
                    "conf_num_attention_heads": 2,
                    "conf_num_hidden_layers": 1,
                    "sscp_conv_channel_size": [8, 4],
                    "vocab_offset": len(w.tokenizer) + 8,
                    "vocab_size": 8,
                },
                text_config=w.text(
                    head_dim=16,
                    sliding_window=16,
                    num_hidden_layers=4,
                    num_kv_shared_layers=2,
                    layer_types=["sliding_attention", "full_attention"] * 2,
                    hidden_size_per_layer_input=8,
                    vocab_size_per_layer_input=len(w.tokenizer),
                    laurel_rank=8,
                    activation_sparsity_pattern=[0.5, 0.5, 0.0, 0.0],
                ),
                vision_soft_tokens_per_image=16,
                image_token_id=w["<image_soft_token>"],
                boi_token_id=w["<start_of_image>"],
                eoi_token_id=w["<end_of_image>"],
                audio_token_id=w["<audio_soft_token>"],
                boa_token_id=w["<start_of_audio>"],
                eoa_token_id=w["<end_of_audio>"],
            ),
            processor=lambda w: t.Gemma3nProcessor(
                t.Gemma3nAudioFeatureExtractor(),
                t.SiglipImageProcessorPil(size={"height": 64, "width": 64}),
                w.tokenizer,
                image_seq_length=16,
            ),
            tokens=GEMMA_TOKENS,
            bos=True,
            image="<image_soft_token>",
            image_processor="SiglipImageProcessorFast",
            std={"embed_tokens": 0.05},
            packages=("timm",),
        ),
    }
)
