"""Alignment of image tokens with word embeddings, a mini's first training of its vision encoder.

Published models start from an encoder that was pretrained on images with captions (CLIP, SigLIP),
and from a projector that was aligned with the language model's embeddings. A mini starts here: the
token of a cell is trained to be the sum of the embeddings of the names in it, and of a vector for
its position. What the language model can do with words (copy them, look them up) it can then do
with image tokens. Without it, captions ignored the image for some 10,000 images; with a linear
classifier of names instead, the encoder made all its tokens long and alike, and captions ignored
the image for 80,000.

Where image tokens pass through the language model's layers, a token can attend there to its
neighbours, and count them. Mllama's images are only keys of cross-attention, so that its encoder
has to encode the neighbours itself. Which tokens are those of a cell its family says: see
`harness.families.family.ModelFamily.cell_tokens`.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.synthetic.scenes import GRID, Scene

CELLS = GRID * GRID


def names_of(scenes: Collection[Scene]) -> tuple[str, ...]:
    """Every shape and colour of the scenes, and their backdrops."""
    marks = {name for scene in scenes for mark in scene.marks for name in (mark.shape, mark.colour)}
    return tuple(sorted(marks | {scene.backdrop for scene in scenes}))


def cell_labels(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, names): 1 where something of that name is in the cell."""
    places = {name: place for place, name in enumerate(names)}
    labels = torch.zeros(CELLS, len(names))
    labels[:, places[scene.backdrop]] = 1
    for mark in scene.marks:
        labels[mark.row * GRID + mark.column, [places[mark.shape], places[mark.colour]]] = 1
    return labels


def neighbour_labels(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, neighbour_size): for each cell with something in it, the names in the cell before it,
    in reading order and down the columns, and how many of its row and of its column are alike."""
    own = cell_labels(scene, names)
    labels = torch.zeros(CELLS, neighbour_size(names))
    filled = sorted({(mark.row, mark.column) for mark in scene.marks})
    for part, order in enumerate((filled, sorted(filled, key=lambda cell: cell[::-1]))):
        for (row, column), (next_row, next_column) in pairwise(order):
            place = slice(part * len(names), (part + 1) * len(names))
            labels[next_row * GRID + next_column, place] = own[row * GRID + column]
    for row, column in filled:
        top = scene.at(row, column)[-1]
        alike = [m for m in scene.marks if (m.shape, m.colour) == (top.shape, top.colour)]
        for part, number in enumerate(
            (
                len({m.column for m in alike if m.row == row}),
                len({m.row for m in alike if m.column == column}),
            )
        ):
            labels[row * GRID + column, 2 * len(names) + part * GRID + number - 1] = 1
    return labels


def neighbour_size(names: Sequence[str]) -> int:
    """The number of labels of a cell's neighbours."""
    return 2 * len(names) + 2 * GRID


def cell_and_neighbour_labels(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, names + neighbour_size): the labels of each cell and of its neighbours."""
    return torch.cat([cell_labels(scene, names), neighbour_labels(scene, names)], dim=1)


def name_embeddings(network: Any, tokenizer: Any, names: Sequence[str]) -> Tensor:
    """(names, D): the embedding of each name, the mean of its tokens' where it has several. Where
    all embeddings share a large mean it is subtracted: in sums it would drown their differences."""
    embeddings = network.get_input_embeddings().weight.detach()
    common = embeddings.mean(dim=0)
    if common.norm() > (embeddings - common).norm(dim=-1).mean() / 2:
        embeddings = embeddings - common
    ids = [tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in names]
    return torch.stack([embeddings[each].mean(dim=0) for each in ids])


def position_vectors(like: Tensor) -> Tensor:
    """(cells, D): a random vector for each position, as long as the embeddings are."""
    vectors = torch.randn(CELLS, like.shape[-1], generator=torch.Generator().manual_seed(0))
    return vectors * like.std()


def neighbour_vectors(number: int, like: Tensor) -> Tensor:
    """(number, D): random vectors for the labels of neighbours, shorter than embeddings."""
    vectors = torch.randn(number, like.shape[-1], generator=torch.Generator().manual_seed(1))
    return vectors * like.std() / 2


def alignment_loss(tokens: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
    """The squared error between image tokens, (N, views, cells, D), and the embeddings of their
    labels, (N, cells, names), as a fraction of the embeddings' variance."""
    wanted = (labels @ embeddings + position_vectors(embeddings))[:, None].expand_as(tokens)
    return F.mse_loss(tokens, wanted) / wanted.var()


def naming_loss(logits: Tensor, labels: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
    """The cross-entropy of logits over the vocabulary, (N, cells, V), with the tokens of the names
    in `labels`, (N, cells, names), each as likely as the others."""
    wanted = torch.zeros(len(tokens), logits.shape[-1])
    for row, ids in zip(wanted, tokens, strict=True):
        row[list(ids)] = 1 / len(ids)
    shares = labels @ wanted  # (N, cells, V)
    return F.cross_entropy(
        logits.flatten(0, 1), (shares / shares.sum(dim=-1, keepdim=True)).flatten(0, 1)
    )
