"""ViLT (Kim et al., 2021): an encoder of 40 text tokens and a picture. It generates no text; its
raw answer is the letter of the choice that it scores highest.

Of a prompt it gets the question alone: options, context, examples and instructions do not fit, so
style and shots make no difference. Two kinds of checkpoint answer, each in its own way.

Masked language modelling (`ViltForMaskedLM`, dandelin/vilt-b32-mlm), as the paper describes it:

- A choice of n tokens is scored under `question: QUESTION answer: [MASK]...` with n masks. Its
  score is the mean log-probability of its tokens at the masks, all predicted in one pass.
- Beyond 40 tokens with [CLS] and [SEP] the end of the question is truncated, never the masks; as
  much for every choice as the longest one needs, so that scores differ by the choice alone. A
  choice of more than 34 tokens is scored by its first 34, without a question.
- An open question gets one mask. The answer is the likeliest token that is a word: no punctuation,
  no piece of a word, no special token.

Classification (`ViltForQuestionAnswering`, dandelin/vilt-b32-finetuned-vqa, 3,129 labels), which
gets the question as it is, truncated after 40 tokens:

- A choice's score is the log-probability (the sigmoid's, as it was trained) of the label that is
  spelled like it, but for case, white space around it and a full stop. A choice that is no label
  cannot win.
- Where no choice is a label, and for an open question, the answer is the likeliest label, as text.

The paper published neither prompt nor rules: these are the project's. Of choices with the same
score the first one wins. Beyond 26 choices the answer is the choice's text, as there are no more
letters.

A question without a picture gets a plain grey one, which normalisation takes to within 0.004 of 0;
one with several is an error. The library takes the patches of a picture in random order; here from
a random state of their own, the same for each picture, so that the answers repeat and the global
state is not changed. Padding takes no part in attention: answers do not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from types import MappingProxyType, SimpleNamespace
from typing import Any, Protocol

import torch
from PIL import Image
from transformers import (
    PreTrainedModel,
    ViltConfig,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from harness.checkpoints import pretrained
from harness.checkpoints.folder import tensor_shapes
from harness.checkpoints.pickled import OLD_NAMES
from harness.core.errors import NOT_FINITE, SampleError
from harness.core.types import Decoding, Output, Prompt
from harness.engine.staging import Staging
from harness.families.control_tokens import control_token_escaper

Target = tuple[int, ...]
"""Token ids of a choice."""
Texts = Mapping[int, tuple[int, ...]]
"""Number of masks -> token ids, [CLS] to [SEP]. Choices of the same length share a text."""

_ARCHITECTURES: Mapping[str, type[PreTrainedModel]] = MappingProxyType(
    {
        "ViltForMaskedLM": ViltForMaskedLM,
        "ViltForQuestionAnswering": ViltForQuestionAnswering,
    }
)
_EMBEDDING = "vilt.embeddings.text_embeddings.word_embeddings.weight"
_DECODER = "mlm_score.decoder.weight"
_GREY = (128, 128, 128)


def load(folder: Path, **arguments: Any) -> Any:
    """What `pretrained.load_model` returns, for the architecture that the folder names.

    Raises:
        ValueError: an architecture that answers no questions.
    """
    config = pretrained.load(ViltConfig, folder)
    names = config.architectures or ["ViltForMaskedLM"]
    if names[0] not in _ARCHITECTURES:
        raise ValueError(f"{names[0]} answers no questions; there are {', '.join(_ARCHITECTURES)}")
    # The library's config ties the decoder to the embeddings whatever config.json says; the
    # published checkpoint has both.
    config.tie_word_embeddings = not {_EMBEDDING, _DECODER} <= tensor_shapes(folder).keys()
    return pretrained.load_model(
        _ARCHITECTURES[names[0]],
        folder,
        config=config,
        key_mapping=OLD_NAMES.get(names[0]),
        **arguments,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt, ready for the encoder."""

    choices: tuple[str, ...]
    pixels: torch.Tensor
    """(1, 3, H, W); H and W are multiples of the patch size."""
    texts: Texts
    targets: tuple[Target, ...]
    """The tokens of each choice; none for a classifier."""
    truncated: int
    """Tokens of the question, and of choices, that did not fit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the head makes of one question."""

    scores: tuple[float, ...]
    """One for each choice, the higher the likelier; -inf for one that cannot win."""
    text: str
    """The answer where there are no choices, or none of them can win; else it may be empty."""
    finite: bool = True
    """Whether everything that the head computed is a finite number."""


class Head(Protocol):
    """The head of either kind of checkpoint."""

    rule: str
    """How a choice is scored, in words."""

    def encode(self, prompt: Prompt) -> tuple[Texts, tuple[Target, ...], int]:
        """The texts and the targets of a `Question`, and how many tokens were truncated."""

    def answer(
        self, questions: Sequence[Question], encoded: BaseModelOutputWithPooling
    ) -> list[Answer]:
        """One answer for each question; `encoded` has a row for each of their texts, in order."""


class Vilt:
    """Either kind of checkpoint, as a `harness.core.types.Model`."""

    max_images = 1

    def __init__(self, model: PreTrainedModel, processor: Any, *, device: str) -> None:
        self._model: Any = model
        self._pixels = processor.image_processor
        self._tokenizer = processor.tokenizer
        self._device = torch.device(device)
        self._staging = Staging(self._device)
        head = _MaskedLanguageHead if isinstance(model, ViltForMaskedLM) else _ClassificationHead
        self._head: Head = head(model, processor)

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model itself, for training."""
        network: PreTrainedModel = self._model
        return network

    @property
    def tokenizer(self) -> Any:
        """Lower case, at most 40 tokens with [CLS] and [SEP]."""
        return self._tokenizer

    @property
    def description(self) -> Mapping[str, Any]:
        return {
            "class": type(self._model).__name__,
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._device),
            "attention": self._model.config._attn_implementation,  # noqa: SLF001  # no public name
            "score": self._head.rule,
        }

    def prepare(self, prompts: Sequence[Prompt]) -> list[Question]:
        """Raises SampleError for a prompt with more than one picture."""
        return [self._prepare(prompt) for prompt in prompts]

    def _prepare(self, prompt: Prompt) -> Question:
        if len(prompt.images) > 1:
            raise SampleError(f"ViLT takes one picture; there are {len(prompt.images)}")
        side = self._model.config.image_size
        picture = prompt.images[0] if prompt.images else Image.new("RGB", (side, side), _GREY)
        texts, targets, truncated = self._head.encode(prompt)
        return Question(
            choices=prompt.choices,
            pixels=self._pixels(self._stretched(picture), return_tensors="pt")["pixel_values"],
            texts=texts,
            targets=targets,
            truncated=truncated,
        )

    def _stretched(self, picture: Image.Image) -> Image.Image:
        """Stretched to 19:1 if it is longer. The library fits a picture into 384 x 639 and cuts
        its sides to multiples of 32: of a longer one nothing would be left."""
        longest = int(self._pixels.size["shortest_edge"] * 1333 / 800) // self._pixels.size_divisor
        least = math.ceil(max(picture.size) / longest)
        if min(picture.size) >= least:
            return picture
        return picture.resize((max(picture.width, least), max(picture.height, least)))

    def generate(self, prepared: Sequence[Question], decoding: Decoding) -> list[Output]:
        """One output per question, with a score for each of its choices; nothing is decoded.

        Its prompt is every text that was scored, a line each; its tokens_in are those of all these
        texts and of the picture with each of them; its tokens are 0 for a choice, which is scored
        and not written, and 1 for a word or a label.
        """
        del decoding
        return self._outputs(prepared)

    def choose(
        self, prepared: Sequence[Question], options: Sequence[Sequence[str]]
    ) -> list[Output]:
        """As `generate`, which scores the choices themselves: their letters are in no text."""
        del options
        return self._outputs(prepared)

    def _outputs(self, questions: Sequence[Question]) -> list[Output]:
        patches = [self._embed(question.pixels) for question in questions]
        answers = self._answers(questions, patches)
        outputs = []
        for question, answer, patch in zip(questions, answers, patches, strict=True):
            texts = question.texts.values()
            prompt = "\n".join(self._tokenizer.decode(text[1:-1]) for text in texts)
            if not answer.finite:
                outputs.append(Output("", prompt, None, None, error=NOT_FINITE))
                continue
            chosen = _best(answer.scores)
            outputs.append(
                Output(
                    raw=answer.text if chosen is None else _name(question.choices, chosen),
                    prompt=prompt,
                    tokens_in=sum(len(text) + len(patch) for text in texts),
                    tokens=int(chosen is None),
                    log_likelihoods=answer.scores,
                    truncated=question.truncated,
                )
            )
        return outputs

    @torch.inference_mode()
    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """The embedded patches of one picture, its class token first, (P, D).

        What the library makes of a picture without padding, in its order of the patches, which is
        drawn from a seed; the library's own method looks at a mask's values, each of which would be
        a wait for the device.
        """
        config, embeddings = self._model.config, self._model.vilt.embeddings
        patches = embeddings.patch_embeddings(self._staging([pixels]))  # (1, D, H, W)
        side = config.image_size // config.patch_size
        positions = embeddings.position_embeddings  # (1, 1 + side * side, D)
        grid = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        grid = torch.nn.functional.interpolate(
            grid, size=patches.shape[2:], mode="bilinear", align_corners=True
        )
        number = patches.shape[2] * patches.shape[3]
        limit = config.max_image_length
        kept = number if not isinstance(limit, int) or limit < 0 else min(number, limit)
        seeded = torch.Generator().manual_seed(0)
        order = torch.multinomial(torch.ones(number), kept, generator=seeded)
        order = self._staging([order])
        chosen, places = (each[0].flatten(1).T[order] for each in (patches, grid))  # (P, D)
        first = embeddings.cls_token[0] + positions[0, :1]
        return torch.cat([first, chosen + places])

    @torch.inference_mode()
    def _answers(
        self, questions: Sequence[Question], patches: Sequence[torch.Tensor]
    ) -> list[Answer]:
        """All texts of all questions in one pass through the encoder."""
        texts = [torch.tensor(text) for question in questions for text in question.texts.values()]
        pictures = [
            patch
            for question, patch in zip(questions, patches, strict=True)
            for _ in question.texts
        ]
        encoded = self._model.vilt(
            input_ids=self._staging([_pad(texts, self._tokenizer.pad_token_id)]),  # (R, T)
            attention_mask=self._staging([_mask(texts)]),
            image_embeds=_pad(pictures, 0),  # (R, P, D)
            pixel_mask=self._staging([_mask(pictures)]),
        )
        return self._head.answer(questions, encoded)


def load_prompt_text(folder: Path, processor: Any) -> Callable[[Prompt], str]:
    """What makes the longest text that the encoder gets for a prompt, from the config alone."""
    config = pretrained.load(ViltConfig, folder)
    masked_language = "ViltForQuestionAnswering" not in (config.architectures or [])
    head: Head = (_MaskedLanguageHead if masked_language else _ClassificationHead)(
        SimpleNamespace(config=config), processor
    )

    def prompt_text(prompt: Prompt) -> str:
        texts, _, _ = head.encode(prompt)
        text: str = processor.tokenizer.decode(texts[max(texts)])
        return text

    return prompt_text


class _MaskedLanguageHead:
    """Masked language modelling: scores of choices at masks."""

    rule = "mean log-probability of the choice's tokens at masks"

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._tokens = _tokens(processor)
        tokenizer = processor.tokenizer
        self._mask = tokenizer.mask_token_id
        self._before = (tokenizer.cls_token_id, *self._tokens("question:"))
        self._after = self._tokens("answer:")
        self._end = (tokenizer.sep_token_id,)
        added = len(self._before) + len(self._after) + len(self._end)
        self._max_tokens = model.config.max_position_embeddings - added
        words = [(token, word) for word, token in tokenizer.get_vocab().items() if word.isalnum()]
        self._words = dict(sorted(words))

    def encode(self, prompt: Prompt) -> tuple[Texts, tuple[Target, ...], int]:
        tokens = [self._tokens(choice) for choice in prompt.choices]
        targets = tuple(choice[: self._max_tokens] for choice in tokens)
        numbers = sorted({len(target) for target in targets} - {0}) or [1]
        asked = self._tokens(prompt.question)
        question = asked[: self._max_tokens - numbers[-1]]
        truncated = len(asked) - len(question) + sum(map(len, tokens)) - sum(map(len, targets))
        before = (*self._before, *question, *self._after)
        return {n: (*before, *[self._mask] * n, *self._end) for n in numbers}, targets, truncated

    def answer(
        self, questions: Sequence[Question], encoded: BaseModelOutputWithPooling
    ) -> list[Answer]:
        texts = [item for question in questions for item in question.texts.items()]
        last: Any = encoded.last_hidden_state
        staging = Staging(last.device)
        rows = [row for row, (n, _) in enumerate(texts) for _ in range(n)]
        # The masks stand at the end, before [SEP].
        places = [place for n, text in texts for place in range(len(text) - 1 - n, len(text) - 1)]
        masks = (staging([torch.tensor(each)]) for each in (rows, places))
        hidden = last[tuple(masks)]
        logs = self._model.mlm_score(hidden).float().log_softmax(dim=-1)  # (masks, vocabulary)
        logs = logs.cpu()  # the only wait for the device
        of_texts = iter(logs.split([n for n, _ in texts]))
        finite_masks = iter(logs.isfinite().all(dim=-1).tolist())  # of each mask
        answers = []
        for question in questions:
            filled = {n: next(of_texts) for n in question.texts}  # n -> (n, vocabulary)
            scores = tuple(_mean_at(filled, target) for target in question.targets)
            word = "" if any(question.targets) else self._word(filled[1])
            finite = all(list(islice(finite_masks, sum(question.texts))))
            answers.append(Answer(scores, word, finite))
        return answers

    def _word(self, logs: torch.Tensor) -> str:
        """The likeliest token that is a word; `logs` is (1, vocabulary)."""
        tokens = list(self._words)
        return self._words[tokens[int(logs[0, tokens].argmax())]]


class _ClassificationHead:
    """Classification: one of the checkpoint's labels."""

    rule = "log-probability of the label that is spelled like the choice"

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._tokens = _tokens(processor)
        self._start = (processor.tokenizer.cls_token_id,)
        self._end = (processor.tokenizer.sep_token_id,)
        self._max_tokens = model.config.max_position_embeddings - 2
        self._labels: Mapping[int, str] = model.config.id2label
        self._indices = {_spelling(label): index for index, label in self._labels.items()}

    def encode(self, prompt: Prompt) -> tuple[Texts, tuple[Target, ...], int]:
        asked = self._tokens(prompt.question)
        question = asked[: self._max_tokens]
        return {0: (*self._start, *question, *self._end)}, (), len(asked) - len(question)

    def answer(
        self, questions: Sequence[Question], encoded: BaseModelOutputWithPooling
    ) -> list[Answer]:
        logits = self._model.classifier(encoded.pooler_output)  # (B, labels)
        logs = torch.nn.functional.logsigmoid(logits.float()).cpu()
        whole = logs.isfinite().all(dim=-1).tolist()
        answers = []
        for question, row, finite in zip(questions, logs, whole, strict=True):
            indices = [self._indices.get(_spelling(choice)) for choice in question.choices]
            scores = tuple(-math.inf if index is None else float(row[index]) for index in indices)
            answers.append(Answer(scores, self._labels[int(row.argmax())], finite))
        return answers


def _tokens(processor: Any) -> Callable[[str], Target]:
    """A function from text to tokens; control tokens in the text are broken up."""
    escape = control_token_escaper(processor)

    def tokens(text: str) -> Target:
        encoded = processor.tokenizer(escape(text), add_special_tokens=False, verbose=False)
        return tuple(encoded["input_ids"])

    return tokens


def _mean_at(filled: Mapping[int, torch.Tensor], target: Target) -> float:
    """The mean log-probability of the target's tokens, each at its own mask."""
    if not target:
        return -math.inf
    logs = filled[len(target)]
    return float(logs[list(range(len(target))), list(target)].mean())


def _best(scores: Sequence[float]) -> int | None:
    """The first of the highest; None where none can win."""
    best = max(scores, default=-math.inf)
    return None if best == -math.inf else scores.index(best)


def _name(choices: Sequence[str], index: int) -> str:
    return ascii_uppercase[index] if index < len(ascii_uppercase) else choices[index]


def _spelling(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def _pad(rows: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def _mask(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """1 where `_pad` has a row's own elements, 0 where it has padding."""
    return _pad([torch.ones(len(row), dtype=torch.long) for row in rows], 0)
