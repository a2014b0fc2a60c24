"""The first lesson in seeing: image tokens are made the words for what is in each cell.

Published models begin from an encoder that was trained on pictures with their names (CLIP, SigLIP),
and from a projector that was aligned with the words of the language model. A mini begins here: the
token of a cell is to be the sum of the embeddings of the names in it, and of a vector for its
place. What the language model has learned to do with words (to copy them, to look them up) it can
then do with what it sees. Without it, captions followed the language alone for some 10,000
pictures; with names asked by a linear layer instead, the encoder made all its tokens long and
alike, and they did so for 80,000.

Where image tokens pass through the language model's layers, a token can find out there what stands
before it, and how often. Mllama only looks at them from beside; its encoder says so itself.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.synthetic.scenes import GRID, Scene

CELLS = GRID * GRID

See = Callable[[Any, Mapping[str, Tensor]], Tensor]


def names_of(scenes: Collection[Scene]) -> tuple[str, ...]:
    """Every shape and colour of the scenes, and their backdrops."""
    marks = {name for scene in scenes for mark in scene.marks for name in (mark.shape, mark.colour)}
    return tuple(sorted(marks | {scene.backdrop for scene in scenes}))


def named(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, names): 1 where something of that name is in the cell."""
    places = {name: place for place, name in enumerate(names)}
    seen = torch.zeros(CELLS, len(names))
    seen[:, places[scene.backdrop]] = 1
    for mark in scene.marks:
        seen[mark.row * GRID + mark.column, [places[mark.shape], places[mark.colour]]] = 1
    return seen


def around(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, around_size): for each cell with something in it, what is in the one before
    it, in reading order and down the columns, and how many of its row and its column are alike."""
    seen = named(scene, names)
    told = torch.zeros(CELLS, around_size(names))
    filled = sorted({(mark.row, mark.column) for mark in scene.marks})
    for part, order in enumerate((filled, sorted(filled, key=lambda cell: cell[::-1]))):
        for (row, column), (next_row, next_column) in pairwise(order):
            place = slice(part * len(names), (part + 1) * len(names))
            told[next_row * GRID + next_column, place] = seen[row * GRID + column]
    for row, column in filled:
        top = scene.at(row, column)[-1]
        alike = [m for m in scene.marks if (m.shape, m.colour) == (top.shape, top.colour)]
        for part, number in enumerate(
            (
                len({m.column for m in alike if m.row == row}),
                len({m.row for m in alike if m.column == column}),
            )
        ):
            told[row * GRID + column, 2 * len(names) + part * GRID + number - 1] = 1
    return told


def around_size(names: Sequence[str]) -> int:
    """How much there is to say of what is around a cell."""
    return 2 * len(names) + 2 * GRID


def all_of(scene: Scene, names: Sequence[str]) -> Tensor:
    """(cells, names + around_size): what is in each cell, and around it."""
    return torch.cat([named(scene, names), around(scene, names)], dim=1)


def _moondream(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = network.get_image_features(pixels["pixel_values"], pixels["image_grids"])
    return found[:, None]


def _llava_next(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    views = pixels["pixel_values"]
    patches = network.model.vision_tower(views.flatten(0, 1)).last_hidden_state[:, 1:]
    found: Tensor = network.model.multi_modal_projector(patches)
    each: Tensor = found.unflatten(0, views.shape[:2])
    return each


def _phi3v(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    found = network.get_image_features(pixels["pixel_values"], pixels["image_sizes"])
    tokens = torch.stack(list(found))  # (N, 2 * (GRID * (GRID + 1)) + 1, D): crop, end, whole view
    rows = GRID * (GRID + 1)
    views = torch.stack([tokens[:, :rows], tokens[:, rows + 1 :]], dim=1)
    grid: Tensor = views.unflatten(2, (GRID, GRID + 1))
    return grid[:, :, :, :GRID].flatten(2, 3)


def _mllama(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    states = network.model.vision_model(**pixels).last_hidden_state
    found: Tensor = network.model.multi_modal_projector(states)
    return found[:, 0, :, 1:]


def _kosmos2(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    states = network.vision_model(pixels["pixel_values"]).last_hidden_state
    normal = F.normalize(network.vision_model.model.post_layernorm(states), dim=-1)
    found: Tensor = network.image_to_text_projection(normal)[0]
    return found[:, None]


TOKENS: Mapping[str, See] = MappingProxyType(
    {
        "moondream1": _moondream,
        "llava_next": _llava_next,
        "phi3_v": _phi3v,
        "mllama": _mllama,
        "kosmos-2": _kosmos2,
    }
)
"""model_type -> what the language model gets of the cells of pictures, (N, views, cells, D), row by
row. KOSMOS-2's latent queries have no place of their own; each is given a cell's."""


def words(network: Any, tokenizer: Any, names: Sequence[str]) -> Tensor:
    """(names, D): the embedding of each name, the mean of its tokens' where it has several; where
    all embeddings share much, without that: in sums it would drown what tells them apart."""
    embeddings = network.get_input_embeddings().weight.detach()
    common = embeddings.mean(dim=0)
    if common.norm() > (embeddings - common).norm(dim=-1).mean() / 2:
        embeddings = embeddings - common
    ids = [tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in names]
    return torch.stack([embeddings[each].mean(dim=0) for each in ids])


def places(like: Tensor) -> Tensor:
    """(cells, D): a random vector for each place, as long as the embeddings are."""
    drawn = torch.randn(CELLS, like.shape[-1], generator=torch.Generator().manual_seed(0))
    return drawn * like.std()


def vectors(number: int, like: Tensor) -> Tensor:
    """(number, D): random ones, for what is around a cell; shorter than words, being many."""
    drawn = torch.randn(number, like.shape[-1], generator=torch.Generator().manual_seed(1))
    return drawn * like.std() / 2


def misfit(tokens: Tensor, seen: Tensor, embeddings: Tensor) -> Tensor:
    """How far the tokens, (N, views, cells, D), are from the words of what is `seen`, (N, cells,
    names): the squared error, as a share of the words' own variance."""
    wanted = (seen @ embeddings + places(embeddings))[:, None].expand_as(tokens)
    return F.mse_loss(tokens, wanted) / wanted.var()


def unnamed(logits: Tensor, seen: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
    """How badly a head over the vocabulary, (N, cells, V), names what is `seen`, (N, cells, names):
    the cross-entropy with the names' tokens, each as likely as the others."""
    wanted = torch.zeros(len(tokens), logits.shape[-1])
    for row, ids in zip(wanted, tokens, strict=True):
        row[list(ids)] = 1 / len(ids)
    shares = seen @ wanted  # (N, cells, V)
    return F.cross_entropy(
        logits.flatten(0, 1), (shares / shares.sum(dim=-1, keepdim=True)).flatten(0, 1)
    )
