"""The configuration of Phi-3.5-vision, read from the published layout of config.json."""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPVisionConfig, Phi3Config

PUBLISHED_VOCABULARY = 32064
IMAGE_TOKEN_ID = 32044
"""`<|image|>` in the published tokenizer, which its own processor does not use."""
TURN_ENDS = (32000, 32007)
"""`<|endoftext|>` and `<|end|>`: either one ends an answer in the published chat format."""

# CLIP ViT-L/14 at 336 pixels: config.json names it only by `img_processor.model_name`.
_CLIP_L_336: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
# The published values of the switches that choose between variants; the others were never released.
_EMBEDDING_LAYER = {
    "use_hd_transform": True,
    "with_learnable_separator": True,
    "hd_transform_order": "sub_glb",
    "projection_cls": "mlp",
}


@strict
class Phi3VConfig(Phi3Config):
    """Phi-3's configuration and the picture half of the model.

    Args:
        vision_config: CLIP's fields, by their names in `CLIPVisionConfig`; what is left out has the
            value of CLIP ViT-L/14-336.
        projector_hidden_size: between the two linear layers; None: `hidden_size`, as published.
        image_token_id: the id of a picture's slots in `input_ids`. Its embedding is never read.
        img_processor: as published; `layer_idx` picks CLIP's hidden state, -2 where left out.
        embd_layer: as published; other variants than the released one are refused.

    Raises:
        ValueError: a variant, a RoPE scaling or a picture geometry that was never released.
    """

    model_type = "phi3_v"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": CLIPVisionConfig}

    vision_config: dict[str, Any] | CLIPVisionConfig | None = None
    projector_hidden_size: int | None = None
    image_token_id: int = IMAGE_TOKEN_ID
    img_processor: dict[str, Any] | None = None
    embd_layer: dict[str, Any] | str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.vision_config, CLIPVisionConfig):
            given = {k: v for k, v in (self.vision_config or {}).items() if k != "model_type"}
            self.vision_config = CLIPVisionConfig(**{**_CLIP_L_336, **given})
        if self.projector_hidden_size is None:
            self.projector_hidden_size = self.hidden_size
        scaling = kwargs.pop("rope_scaling", None)
        if scaling is not None:
            self.rope_parameters = self._longrope(scaling)
        kwargs.pop("auto_map", None)  # names code that is never run
        # The published file asks for flash attention by this private key, on any machine.
        kwargs.pop("_attn_implementation", None)
        super().__post_init__(**kwargs)
        self._check_variant()

    def _longrope(self, scaling: dict[str, Any]) -> dict[str, Any]:
        """The published `rope_scaling`, type "su", by the name it has today."""
        kind = scaling.get("rope_type", scaling.get("type"))
        if kind not in ("su", "longrope"):
            raise ValueError(f"rope_scaling of type {kind!r}: Phi-3.5-vision has 'su' (longrope)")
        rest = {k: v for k, v in scaling.items() if k not in ("type", "rope_type")}
        return {
            "rope_type": "longrope",
            "original_max_position_embeddings": self.original_max_position_embeddings,
            "factor": max(
                1.0, self.max_position_embeddings / self.original_max_position_embeddings
            ),
            **rest,
        }

    def _check_variant(self) -> None:
        if isinstance(self.embd_layer, dict):
            for key, published in _EMBEDDING_LAYER.items():
                if self.embd_layer.get(key, published) != published:
                    raise ValueError(
                        f"embd_layer.{key} = {self.embd_layer[key]!r}: only {published!r} "
                        "was released"
                    )
        if (self.img_processor or {}).get("type_feature", "patch") != "patch":
            raise ValueError("img_processor.type_feature: only 'patch' was released")
        if self.crop_size % self.patch_size or self.patches_per_side % 2:
            raise ValueError(
                f"image_size {self.crop_size} with patch_size {self.patch_size}: a crop must be an "
                "even number of patches wide, since 2 x 2 of them make one token"
            )

    @property
    def crop_size(self) -> int:
        """The side of a crop, in pixels."""
        size: int = self.vision_config.image_size  # type: ignore[union-attr,assignment]
        return size

    @property
    def patch_size(self) -> int:
        """The side of a patch, in pixels."""
        size: int = self.vision_config.patch_size  # type: ignore[union-attr,assignment]
        return size

    @property
    def patches_per_side(self) -> int:
        """Patches along the side of a crop: 24 as published."""
        return self.crop_size // self.patch_size

    @property
    def feature_layer(self) -> int:
        """Which of CLIP's hidden states is the picture's features; -1 is the last one."""
        return int((self.img_processor or {}).get("layer_idx", -2))


def count_tokens(rows: int, columns: int, half: int) -> int:
    """Tokens of a picture of rows x columns crops.

    `half` is half the patches along a crop's side (12 as published): each crop and the global view
    give half x half tokens, every row of tokens one separator, and there is one between the two.
    """
    return (rows * columns + 1) * half * half + 1 + (rows + 1) * half
