"""A model enlarged before it goes on learning: new words in its vocabulary, more places in its tables of positions.

V tokens, D width, P places.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.errors import UserError
from unmask.inference import glyphs
from unmask.inference.building import spell
from unmask.inference.model import Model
from unmask.models.shape import Shape
from unmask.nn.embeddings import Embeddings
from unmask.nn.glyphs import GlyphCNN
from unmask.nn.heads import VocabularyHead
from unmask.nn.network import Network
from unmask.nn.ngrams import NgramBag
from unmask.text.sources.files import lines
from unmask.text.tokens.glyphs import Glyphs
from unmask.text.tokens.growing import OPTION, Grown, grow, some


def words_of(given: Sequence[str]) -> list[str]:
    """Words, and those of the files among them, one a line, each once. Raises `UserError`: a file is not there."""
    words: list[str] = []
    for word in given:
        # Path's own raises where a name is too long
        if os.path.isfile(word) or "/" in word or word.endswith(".txt"):  # noqa: PTH113
            words += (line.strip() for line in lines(Path(word)))
        else:
            words.append(word.strip())
    if not (kept := [word for word in dict.fromkeys(words) if word]):
        raise UserError(f"{OPTION} {','.join(given)}: holds no word; words, or a file with one a line, would fit")
    return kept


def with_tokens(model: Model, words: Sequence[str]) -> Model:
    """The same with these words as tokens of their own.

    What the model holds of each token (its vector, what it answers with, a bias) is for a new one the mean of what it
    holds of the pieces that the word was before; a model that makes vectors from letters or images makes its vector
    from those.

    Raises:
        UserError: A word is none to the tokenizer, or the vocabulary cannot take any.
    """
    grown, size = grow(model.tokenizer, words), model.tokenizer.size
    shape = model.shape.model_copy(update={"vocab_size": max(model.shape.vocab_size, size + len(grown.entries))})
    changes: dict[str, Callable[[Tensor], Tensor]] = dict.fromkeys(
        _by_token(model.network), lambda x: _more(x, size, _means(x, grown))
    )
    pictures = glyphs.with_new(model.network, shape, grown.tokenizer, size)
    for name, rows in _beside_letters(model.network, size, grown, pictures):
        changes[name] = partial(_more, size=size, new=rows)
    network = _changed(model.network, shape, changes)
    spell(network, grown.tokenizer, pictures)
    told = [*model.notes, _told(grown, model, pictures)]
    return replace(model, shape=shape, network=network, tokenizer=grown.tokenizer, notes=told)


def with_places(model: Model, length: int) -> Model:
    """The same for longer texts: tables of positions are stretched, first and last place staying what they are.

    Raises:
        UserError: The model has no such tables, or they are as long already.
    """
    shape = model.shape
    if shape.positions != "learned":
        kind = {"none": "the order of reading alone"}.get(shape.positions, f"{shape.positions} positions")
        raise UserError(
            f"--max-length {length}: {shape.family} has no table of positions to stretch, but {kind}; leave it out"
        )
    if length <= shape.max_length:
        raise UserError(
            f"--max-length {length}: {shape.family} reads {shape.max_length} tokens already; more would fit"
        )
    longer = shape.model_copy(update={"max_length": length})
    network = _changed(model.network, longer, dict.fromkeys(_by_place(model.network), lambda x: _stretched(x, length)))
    told = f"positions stretched from {shape.max_length} to {length}; train it on longer texts before it is used on any"
    return replace(model, shape=longer, network=network, notes=[*model.notes, told])


def _changed(network: Network, shape: Shape, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Network:
    """A copy with some of its weights changed, which says so in its shapes."""
    weights = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    copied, old = copy.deepcopy(network), network.backbone.shape
    copied.fill({name: changes[name](weight) if name in changes else weight for name, weight in weights.items()})
    for module in copied.modules():
        if getattr(module, "shape", None) == old:
            module.shape = shape  # type: ignore[assignment]  # torch says that modules hold but modules and tensors
    return copied.eval()


def _by_token(network: Network) -> Iterator[str]:
    """Names of the weights that have a row for each token."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Embedding) and path.endswith("embeddings.tokens"):
            yield f"{path}.weight"
        if isinstance(module, VocabularyHead):
            yield from (f"{path}.vocabulary", f"{path}.bias", f"{path}.beside")


def _beside_letters(network: Network, size: int, grown: Grown, pictures: Glyphs | None) -> Iterator[tuple[str, Tensor]]:
    """What new tokens have beside the vector of their letters or image: zeros, for a mean of pieces would lead away
    from it; but that mean where there is no image. Names of tables, and rows."""
    for path, module in network.named_modules():
        if isinstance(module, NgramBag):
            yield f"{path}.own.weight", torch.zeros(len(grown.pieces), module.own.embedding_dim)
        if isinstance(module, GlyphCNN):
            assert pictures is not None
            with torch.no_grad():
                rows = torch.stack([module(torch.from_numpy(ids)).mean(0) for ids in grown.pieces])
            rows[pictures.tokens[pictures.tokens >= size] - size] = 0
            yield f"{path}.own.weight", rows


def _by_place(network: Network) -> Iterator[str]:
    """Names of the tables of positions."""
    for path, module in network.named_modules():
        if isinstance(module, Embeddings) and module.positions is not None:
            yield f"{path}.positions.weight"


def _more(weight_V: Tensor, size: int, new: Tensor) -> Tensor:
    """[V, …] with rows for new tokens, numbered from ``size``; rows there that no token has had are theirs."""
    return torch.cat([weight_V[:size], new, weight_V[size + len(new) :]])


def _means(weight_V: Tensor, grown: Grown) -> Tensor:
    return torch.stack([weight_V[torch.from_numpy(ids)].mean(0) for ids in grown.pieces])


def _stretched(table_PD: Tensor, places: int) -> Tensor:
    """As many places, each between the two that stood nearest."""
    # in float64, so that the last place stays exactly what it is
    stretched = F.interpolate(table_PD.T[None].double(), size=places, mode="linear", align_corners=True)
    return stretched[0].T.to(table_PD.dtype).contiguous()


def _told(grown: Grown, model: Model, pictures: Glyphs | None) -> str:
    known = f"; tokens already: {some(grown.known)}" if grown.known else ""
    added = f"added {len(grown.entries)} token{'s' * (len(grown.entries) != 1)}"
    # what it answers with, where it does, is no vector of letters
    answers = ", to answer with the mean of its pieces" if _answers(model.network) else ""
    if model.shape.embedding in ("char_cnn", "fasttext_ngrams"):
        return f"{added}, each with a vector from its letters{answers}{known}"
    unknown = sum(model.tokenizer.unk in ids for ids in grown.pieces)
    blank = f"; {unknown} begin as the unknown token, having had no other pieces" if unknown else ""
    if pictures and (drawn := int((pictures.tokens >= model.tokenizer.size).sum())):
        return f"{added}, {drawn} with a vector from their image, others the mean of their pieces{answers}{known}"
    return f"{added}, each the mean of its pieces{known}{blank}"


def _answers(network: Network) -> bool:
    return any(isinstance(module, VocabularyHead) for module in network.modules())
