"""Answers and scores by transformers alone: one prompt at a time, no code of the harness."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.families.checkpoint import Family, without_video

SIZES = (
    (64, 48), (64, 48), (40, 90), (64, 48), (100, 30), (32, 32), (57, 61), (33, 120), (128, 96),
    (20, 20), (75, 34), (48, 64),
)  # fmt: skip
"""Ten sizes of pictures; one of them thrice, so that a batch has pictures of one size too."""
MAX_NEW_TOKENS = 12


def questions(family: Family) -> list[tuple[str, Image.Image | None]]:
    """Pictures of ten sizes, and two questions without a picture where a family takes them."""
    import random

    chance = random.Random(1)
    made: list[tuple[str, Image.Image | None]] = []
    for number, (width, height) in enumerate(SIZES[: family.pictures]):
        picture = Image.frombytes("RGB", (width, height), chance.randbytes(3 * width * height))
        made.append(("Which of these is it? " * (1 + number * 3 % 5) + "A: x, B: y", picture))
    if not family.needs_picture:
        made.insert(5, ("What is the capital of Wyoming?", None))
        made.append(("Which statement is true? A: no, B: yes", None))
    return made


class Loop:
    """AutoProcessor, AutoModelForImageTextToText and `generate`."""

    def __init__(self, family: Family, folder: Path) -> None:
        self._family = family
        with without_video():
            self.processor = AutoProcessor.from_pretrained(folder, backend="pil")
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()
        family.repair(self.processor, self.model)
        self._ends = set(self.model.generation_config.eos_token_id)

    def text(self, question: str, picture: Image.Image | None) -> str:
        """The prompt, as the model's documentation words it."""
        if self._family.image is None:
            return self._family.plain(question, picture is not None)
        content: list[dict[str, str]] = [{"type": "image"}] if picture else []
        content.append({"type": "text", "text": question})
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )

    def inputs(self, question: str, picture: Image.Image | None) -> dict[str, torch.Tensor]:
        made = self._processed(question, picture)
        # Llama 4's processor gives bfloat16.
        return {k: v.float() if v.is_floating_point() else v for k, v in made.items()}

    def _processed(self, question: str, picture: Image.Image | None) -> dict[str, torch.Tensor]:
        text = self.text(question, picture)
        if self._family.interleaved:
            start, *rest = text.split("<image>")
            parts = [start, *(part for words in rest for part in (picture, words))]
            return dict(self.processor(text=[parts], return_tensors="pt"))
        pictures = [picture] if self._family.flat_pictures else [[picture]]
        more = {**self._family.arguments, **({"images": pictures} if picture else {})}
        return dict(self.processor(text=[text], return_tensors="pt", **more))

    @torch.inference_mode()
    def answer(self, question: str, picture: Image.Image | None) -> str:
        """The greedy answer."""
        inputs = self.inputs(question, picture)
        made = self.model.generate(**inputs, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        prompt = inputs["input_ids"].shape[1] - self._family.sep
        ids = made[0, 1 if self.model.config.is_encoder_decoder else prompt :].tolist()
        # A language model within the model may not stop where the checkpoint says.
        end = next((i for i, token in enumerate(ids) if token in self._ends), len(ids))
        return self.processor.tokenizer.decode(ids[: end + 1], skip_special_tokens=True)

    @torch.inference_mode()
    def score(self, question: str, picture: Image.Image | None, option: str) -> float:
        """The mean log-likelihood of an option's tokens by one forward pass without a cache."""
        inputs = self.inputs(question, picture)
        if self._family.sep:
            cut = {name: inputs[name][:, :-1] for name in ("input_ids", "attention_mask")}
            inputs |= cut
        last = self.text(question, picture)[-1]
        space = "" if last.isspace() else " "
        # Some tokenizers begin every text with a space of their own.
        before, both = (
            self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (last, f"{last}{space}{option}")
        )
        tokens = both[len(before) :]
        ids = torch.tensor([tokens])
        if self.model.config.is_encoder_decoder:
            start = torch.tensor([[self.model.generation_config.decoder_start_token_id]])
            inputs["decoder_input_ids"] = torch.cat([start, ids[:, :-1]], dim=1)
            logits = self.model(**inputs).logits[0]
        else:
            length = inputs["input_ids"].shape[1]
            for name, value in inputs.items():
                if name == "image_attention_mask":  # of Idefics, (1, T, pictures)
                    last = value[:, -1:].expand(-1, len(tokens), -1)
                    inputs[name] = torch.cat([value, last], dim=1)
                if value.shape[1:] == (length,) and not name.startswith("pixel"):
                    new = ids if name == "input_ids" else torch.full_like(ids, _SUFFIX.get(name, 0))
                    if self.model.config.model_type == "paligemma" and name == "token_type_ids":
                        new = torch.ones_like(ids)  # the prompt is its prefix, which has no mask
                    inputs[name] = torch.cat([value, new], dim=1)
            logits = self.model(**inputs).logits[0, -len(tokens) - 1 : -1]
        found = logits.log_softmax(-1)
        return float(found[range(len(tokens)), tokens].mean())


_SUFFIX = {"attention_mask": 1}
