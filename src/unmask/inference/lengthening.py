"""A model of short texts made one of long texts (Beltagy 2020, Longformer, 2004.05150, §5). P places, D width."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from unmask import hub
from unmask.errors import UserError
from unmask.inference.model import Model
from unmask.models.backbone import backbone_of
from unmask.models.shape import Shape
from unmask.nn.network import Network

POSITIONS = "embeddings.positions.weight"
GLOBAL = "attention.global_"
KINDS = ("bert", "roberta")


def with_windows(model: Model, window: int, length: int | None = None) -> Model:
    """A BERT or RoBERTa as a longformer: texts no longer than its windows reach have the states that they had.

    Positions are repeated, since what a layer learned is mostly of neighbours; global projections begin as the others.

    Args:
        model: what is made one.
        window: the width of every layer's window.
        length: the longest text; none: as it was.

    Raises:
        UserError: The model is of another kind, or reads so much already.
    """
    shape = _longer(model, window, length)
    with torch.device("meta"):
        backbone = backbone_of(shape)
    known = hub.heads_of(shape)
    heads = {name: copy.deepcopy(head) for name, head in model.network.heads.items() if name in known}
    network = Network(backbone, heads)
    network.fill(_filled(network, model.network, shape))
    told = [f"made a longformer with windows of {window}; train it on texts of {shape.max_length} tokens before use"]
    told += [f"left out: the {name} head, which a longformer has not" for name in model.heads if name not in known]
    return replace(model, shape=shape, network=network.eval(), notes=[*model.notes, *told])


def _longer(model: Model, window: int, length: int | None) -> Shape:
    """What it becomes."""
    before = model.shape
    if before.family not in KINDS or before.positions != "learned" or before.causal or "task" in model.heads:
        fits = f"a pre-trained {' or '.join(KINDS)}, whose positions are learned, would fit"
        raise UserError(f"--window {window}: {model.source} cannot become a longformer; {fits}")
    if length is not None and length <= before.max_length:
        raise UserError(f"--max-length {length}: the model reads {before.max_length} tokens already; more would fit")
    parts = {"family": "longformer", "window": window, "global_every": 0, "global_tokens": "first"}
    return before.model_copy(update={**parts, "max_length": length or before.max_length})


def _filled(network: Network, model: Network, shape: Shape) -> dict[str, Tensor]:
    """What each weight is, made of the model's own."""
    given = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    across = shape.heads * shape.width_per_head
    found = {}
    for name, _ in network.named_parameters():
        if name.endswith(POSITIONS):
            found[name] = _repeated(given[name], shape.max_length)
        elif GLOBAL in name:
            start, leaf = name.rsplit(GLOBAL, 1)
            qkv = given[f"{start}attention.qkv.{leaf.rpartition('.')[2]}"]
            found[name] = (qkv[:across] if leaf.startswith("query") else qkv[across:]).clone()
        else:
            found[name] = given[name]
    return found


def _repeated(table_PD: Tensor, places: int) -> Tensor:
    """As many places, one copy behind the other."""
    return table_PD.repeat(-(-places // len(table_PD)), 1)[:places].clone()
