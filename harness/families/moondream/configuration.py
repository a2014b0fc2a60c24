"""Moondream's config.json: what it may say, and the published sizes where it says nothing."""

# The base classes, transformers', are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

from transformers import PhiConfig, PreTrainedConfig, SiglipVisionConfig

# The published config.json has no sizes: they are constants of the published code.
_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 378,
    "patch_size": 14,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-5,  # torch's default; SigLIP's own is 1e-6
}
# PhiConfig's sizes are Phi-1.5's, which is what Moondream has; its token ids are not Moondream's.
_END_OF_TEXT = 50256


class MoondreamConfig(PreTrainedConfig):
    """The published `moondream1` config with optional sizes.

    `vision_config` takes SiglipVisionConfig's fields and `text_config` PhiConfig's; a field that
    is left out has its published value. `vision_config.image_size` s sets the whole geometry:
    views of s and 2s, (s / patch_size)^2 image tokens, and the size from which an image is tiled.
    """

    model_type = "moondream1"
    sub_configs = {"vision_config": SiglipVisionConfig, "text_config": PhiConfig}  # noqa: RUF012  # transformers' own form

    vision_config: Any = None
    text_config: Any = None
    projector_hidden_size: int = 8192
    image_token_id: int = 51199
    """Stands where image embeddings go. The published model has no such token; this one lies in
    the vocabulary, and its tokenizer never gives it."""
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("auto_map", None)  # names code that is never run
        if not isinstance(self.vision_config, SiglipVisionConfig):
            self.vision_config = SiglipVisionConfig(**{**_VISION, **_fields(self.vision_config)})
        # The published layout has no tensors for a pooling head, whatever the config says.
        self.vision_config.vision_use_head = False
        if not isinstance(self.text_config, PhiConfig):
            fields = _fields(self.text_config)
            published = fields.get("vocab_size", _END_OF_TEXT + 1) > _END_OF_TEXT
            for name in ("bos_token_id", "eos_token_id"):
                fields.setdefault(name, _END_OF_TEXT if published else None)
            self.text_config = PhiConfig(**fields)
        super().__post_init__(**kwargs)

    @property
    def image_seq_length(self) -> int:
        """Tokens per image: 729 for the published sizes."""
        side: int = self.vision_config.image_size // self.vision_config.patch_size
        return side**2


def _fields(config: dict[str, Any] | PreTrainedConfig | None) -> dict[str, Any]:
    given = config.to_dict() if isinstance(config, PreTrainedConfig) else dict(config or {})
    given.pop("model_type", None)
    return given
