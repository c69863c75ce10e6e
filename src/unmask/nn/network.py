"""A backbone and the heads that ask it things."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unmask.nn.asked import Asked
from unmask.nn.batch import Answers, Batch, Sequences
from unmask.nn.embeddings import Embeddings, TokenDifference, TokenEmbedding
from unmask.nn.even import evened
from unmask.nn.heads import TokenHead, VocabularyHead
from unmask.nn.losses import Loss, cross_entropy

if TYPE_CHECKING:
    from unmask.models.shape import Shape


class Backbone(nn.Module):
    """What turns the streams of a batch into states."""

    shape: Shape

    def layers(self, sequences: Sequences) -> list[Tensor]:
        """States after the embeddings and after every layer, [T, D] each; the last one as heads read it."""
        raise NotImplementedError

    def forward(self, sequences: Sequences) -> Tensor:
        """States after the last layer [T, D]."""
        return self.layers(sequences)[-1]

    def states(self, batch: Batch, stream: str) -> Tensor:
        """The last states of a stream [T, D]; computed once a batch."""
        if stream not in batch.states:
            batch.states[stream] = self.read(batch, stream)
        return batch.states[stream]

    def states_at(self, batch: Batch, answers: Answers) -> Tensor:
        """The last states that answers of this batch are read off [M, D], or [M, 2, D] where each is read off two.

        Of tokens that nobody asks about none are computed, if this kind of model can leave them out.
        """
        index, asked = answers.index.flatten(), batch.asked.get(answers.stream)
        if asked is None or answers.stream in batch.states:
            states = self.states(batch, answers.stream)
        else:
            if asked.states is None:
                asked.states = self.read_asked(batch, answers.stream, asked)
            states, index = asked.states, asked.number.index_select(0, index)
        return states.index_select(0, index).view(*answers.index.shape, states.shape[-1])

    def read_asked(self, batch: Batch, stream: str, asked: Asked) -> Tensor:
        """Compute the last states of these tokens [K, D]; as it stands, of all and then take theirs."""
        return self.states(batch, stream).index_select(0, asked.index)

    def read(self, batch: Batch, stream: str) -> Tensor:
        """Compute them; other streams of the batch may be looked at."""
        states: Tensor = self(batch.streams[stream])
        return states


class Network(nn.Module):
    """One backbone, any number of heads, and the backbones that only pre-training needs beside it.

    Args:
        backbone: the model.
        heads: what answers, by name.
        companions: further backbones by name; each reads the stream of its name.
        sharing: those of them that read with the model's own embeddings.
        differing: one of them, from whose vectors of tokens the model's are to differ by what it learns.
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: dict[str, nn.Module],
        companions: dict[str, Backbone] | None = None,
        sharing: Collection[str] = (),
        differing: str | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.companions = nn.ModuleDict(companions or {})  # before the heads, so that a matrix of both has its name
        self.heads = nn.ModuleDict(heads)
        self.sharing, self.differing = tuple(sharing), differing
        self._tie()

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Take these for its weights, in float32; what was one weight stays one."""
        names = {weight: name for name, weight in self.named_parameters()}
        filled = {weight: nn.Parameter(_aligned(tensors[name].float())) for weight, name in names.items()}
        for name, weight in list(self.named_parameters(remove_duplicate=False)):
            module, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(module), leaf, filled[weight])

    def settle(self) -> None:
        """Give the model vectors of tokens of its own, where it has differences from others."""
        if (difference := self.difference) is not None:
            _embeddings(self.backbone).tokens = difference.whole()
        self.differing = None

    @property
    def difference(self) -> TokenDifference | None:
        """By what its vectors of tokens differ from a companion's, if that is what it learns."""
        tokens = self.backbone.get_submodule("embeddings.tokens") if self.differing else None
        return tokens if isinstance(tokens, TokenDifference) else None

    def _tie(self) -> None:
        """Share the embeddings with whoever has none of its own. A head has those of the companion of its name."""
        for name in self.sharing:
            _embeddings(self.companions[name]).share(_embeddings(self.backbone))
        if self.differing is not None:
            others = self.companions[self.differing].get_submodule("embeddings.tokens")
            assert isinstance(others, TokenEmbedding)
            _embeddings(self.backbone).tokens = TokenDifference(others)
        companions = dict(self.companions.items())
        for name, head in self.heads.items():
            reader = companions.get(name, self.backbone)
            for part in head.modules():
                if isinstance(part, VocabularyHead) and part.tied:
                    part.tie(reader.get_parameter("embeddings.tokens.weight"))

    def states(self, batch: Batch, stream: str = "encoder") -> Tensor:
        """Hidden states [T, D] of a stream, read by the companion of its name or else by the backbone."""
        return self._reader(stream).states(batch, stream)

    def states_at(self, batch: Batch, asked_for: str) -> Tensor:
        """Hidden states [M, D], or [M, 2, D], that the targets of this name are read off."""
        answers = batch.targets[asked_for]
        return self._reader(answers.stream).states_at(batch, answers)

    def _reader(self, stream: str) -> Backbone:
        reader = dict(self.companions.items()).get(stream, self.backbone)
        assert isinstance(reader, Backbone)
        return reader

    def logits(self, batch: Batch, asked_for: str, head: str | None = None) -> Tensor:
        """What the head of their name, or another, says at these targets [M, C]. No other place goes through it."""
        count = len(batch.targets[asked_for].index)
        return self.even_logits(batch, asked_for, head)[:count]

    def even_logits(self, batch: Batch, asked_for: str, head: str | None = None) -> Tensor:
        """The same, perhaps with rows behind the M answers that are nobody's, see `nn.even`; for `cross_entropy`."""
        logits: Tensor = self.heads[head or asked_for](*self._given(batch, asked_for))
        return logits

    def _given(self, batch: Batch, asked_for: str) -> list[Tensor]:
        """What a head reads for these targets."""
        places, states = batch.targets[asked_for].places, self.states_at(batch, asked_for)
        if places is not None:
            return [states, places]
        return [evened(states) if states.ndim == 2 else states]

    def loss(self, batch: Batch, asked_for: str, head: str | None = None) -> Loss:
        """What the head of their name, or another, loses at these targets."""
        asked, answers, given = batch.targets[asked_for], self.heads[head or asked_for], self._given(batch, asked_for)
        if isinstance(answers, TokenHead):
            loss = answers.loss(asked.labels, asked.costs, *given)
        else:
            loss = cross_entropy(answers(*given), asked.labels, costs=asked.costs)
        if asked.costs is None:
            return loss
        # what is right is a share of what was asked, whatever the losses are divided by
        figures = {} if loss.correct is None else {"accuracy": (loss.correct, loss.count)}
        return replace(loss, count=asked.count, figures=figures)

    def answer(self, batch: Batch, heads: Iterable[str]) -> dict[str, Loss]:
        """The losses of these heads at their targets."""
        return {name: self.loss(batch, name) for name in heads}


def _embeddings(backbone: nn.Module) -> Embeddings:
    """A backbone's vectors of tokens and what stands with them."""
    found = backbone.get_submodule("embeddings")
    assert isinstance(found, Embeddings)
    return found


def _aligned(tensor: Tensor) -> Tensor:
    """Where torch would have put it, and no file need: a product of one row is rounded by where its numbers lie."""
    return tensor.clone() if tensor.data_ptr() % 64 else tensor


@contextmanager
def dropping(network: Network) -> Iterator[None]:
    """Dropout for a while, as in training."""
    before = network.training
    network.train()
    yield
    network.train(before)


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """No dropout and no gradients for a while."""
    network.eval()
    with torch.no_grad():
        yield
    network.train()
